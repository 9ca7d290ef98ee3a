//! Making bags.
