//! The AWS-shaped front doors
