//! The room `bag`.
