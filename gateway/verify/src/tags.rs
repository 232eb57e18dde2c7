//! Tag lists.
