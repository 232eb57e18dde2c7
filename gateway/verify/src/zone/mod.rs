//! A zone as a text.
