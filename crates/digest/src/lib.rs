//! The room `digest`.
