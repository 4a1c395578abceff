//! Clusters and pods on one Linux machine
