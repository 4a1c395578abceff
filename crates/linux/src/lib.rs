//! Namespaces, links, packet rules and processes of one Linux machine.
