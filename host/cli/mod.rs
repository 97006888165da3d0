//! The edges of the command: arguments, input, output, reports.
