//! The program from outside: real `ruad`, real PostgreSQL, HTTP, files and the command line.
//!
//! The server to test on is named by `DATABASE_URL` (`make test` starts one); each test has a database or a schema of its own.
//! Start reading at [`harness::Service`], then at `answers.rs`.

#![cfg(test)]

mod access;
mod access_changes;
mod access_domains;
mod access_rates;
mod access_sessions;
mod answers;
mod authenticity;
mod bodies;
mod command;
mod compaction;
mod concurrency;
mod corpus;
mod directory;
mod documents;
mod domains;
mod dovecot;
mod down;
mod exports;
mod generated;
mod grafana;
mod harness;
mod hostile;
mod import_command;
mod killed;
mod ledger;
mod lists;
mod lmtp;
mod mail_senders;
mod mailbox;
mod mailbox_chaos;
mod mailbox_command;
mod mailbox_faults;
mod mailbox_folders;
mod mailbox_lease;
mod mailbox_logins;
mod mailbox_oauth;
mod mailbox_quiet;
mod mailbox_scripted;
mod mailbox_senders;
mod mailbox_tls;
mod mailbox_work;
mod mailboxes_api;
mod maintenance;
mod memory;
mod oidc;
mod operations;
mod peers;
mod periods;
mod reports;
mod retention;
mod schemathesis;
mod scripted;
mod show_command;
mod slow_questions;
mod sources_command;
mod stop;
mod store_cluster;
mod store_group;
mod store_maintain;
mod store_migrate;
mod tls;
mod upload;
mod upload_limits;
mod web;
