//! The service from the outside: every test talks HTTP to a service of its own.

#![allow(clippy::unwrap_used)] // a test that cannot go on should panic

mod accounts;
mod admin_regions;
mod api;
mod backup;
mod conditional;
mod consoles;
mod conventions;
mod droplet_actions;
mod droplets;
mod early;
mod events;
mod exports;
mod fetch;
mod fetch_faults;
mod fetch_web;
mod forwards;
mod fsck;
mod gc;
mod idempotency;
mod images;
mod isolation;
mod known;
mod logins;
mod migrations;
mod oidc;
mod openapi;
mod operations;
mod processes;
mod put;
mod quotas;
mod rate;
mod related;
mod replays;
mod rescue;
mod retries;
mod s3;
mod service;
mod snapshots;
mod store;
mod tags;
mod tls;
mod tokens;
mod tus;
mod uploads;
