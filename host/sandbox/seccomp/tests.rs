//! Tests of the tables and of the filters made of them.
