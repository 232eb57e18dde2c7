//! `make bench`: how many mails a second the gateway takes, and what each costs.
//!
//! A real gateway process (`postern run`) stands between an embedded DNS server, an embedded sink
//! and a load generator, all on loopback. Out comes one table.

pub mod corpus;
pub mod gateway;
pub mod load;
pub mod table;
