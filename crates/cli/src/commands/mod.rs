//! One module per command. Each has a `run` that takes the parsed arguments and returns the exit
//! status; `main` reports the error, if there is one.

pub mod admin;
pub mod check;
pub mod config;
pub mod convert;
pub mod doctor;
pub mod image;
pub mod key;
pub mod login;
pub mod region;
pub mod rules;
pub mod serve;
pub mod size;
pub mod token;
pub mod usage;
pub mod vm;
mod wait;
