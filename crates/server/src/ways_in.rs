//! The ways in besides the API: mailboxes, LMTP, watched directories.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use ingest::{
    Intake,
    authenticity::Verifier,
    directory, lmtp,
    mailbox::{self, Mailbox, Process},
};
use uuid::Uuid;

use crate::{Config, clock, tasks::Tasks};

/// What takes reports in besides the API.
pub(crate) struct WaysIn {
    lmtp: Option<lmtp::Listener>,
    lmtp_config: lmtp::Config,
    mailboxes: BTreeMap<String, mailbox::Config>,
    directories: BTreeMap<String, directory::Config>,
    /// Only where mail is taken: names cannot be looked up on every machine.
    verifier: Option<Verifier>,
}

impl WaysIn {
    /// Listens and prepares before anything is begun: what cannot work is a mistake in the configuration.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        let mut lmtp = None;
        if !config.lmtp.listen.is_empty() {
            let listener = lmtp::Listener::bind(&config.lmtp).await;
            let place = || format!("listening on lmtp.listen, {}", config.lmtp.listen);
            lmtp = Some(listener.with_context(place)?);
        }
        let takes_mail = lmtp.is_some() || !config.mailboxes.is_empty();
        Ok(Self {
            lmtp,
            lmtp_config: config.lmtp.clone(),
            mailboxes: config.mailboxes.clone(),
            directories: config.directories.clone(),
            verifier: takes_mail.then(|| Verifier::new(&config.dns)).transpose()?,
        })
    }

    pub(crate) fn spawn(self, tasks: &mut Tasks, intake: &Intake) {
        if let Some(verifier) = self.verifier {
            if let Some(listener) = self.lmtp {
                spawn_lmtp(tasks, listener, self.lmtp_config, intake, &verifier);
            }
            spawn_mailboxes(tasks, self.mailboxes, intake, &verifier);
        }
        for (name, directory) in self.directories {
            let what = format!("the directory {name}");
            let stop = tasks.shutdown.clone();
            let watched = directory::watch(name, directory, intake.clone(), clock::now, stop);
            tasks.spawn(what, watched.map(Ok));
        }
    }
}

fn spawn_lmtp(
    tasks: &mut Tasks,
    listener: lmtp::Listener,
    config: lmtp::Config,
    intake: &Intake,
    verifier: &Verifier,
) {
    tracing::info!(lmtp.address = listener.address(), "listening for mail");
    let served = lmtp::serve(
        listener,
        config,
        intake.clone(),
        verifier.clone(),
        clock::now,
        tasks.shutdown.clone(),
    );
    tasks.spawn("LMTP", served.map(Ok));
}

fn spawn_mailboxes(
    tasks: &mut Tasks,
    mailboxes: BTreeMap<String, mailbox::Config>,
    intake: &Intake,
    verifier: &Verifier,
) {
    let process = Process {
        process_id: Uuid::now_v7(),
        label: format!("{}:{}", host_name(), std::process::id()),
    };
    for (name, config) in mailboxes {
        let what = format!("the mailbox {name}");
        let mailbox = Mailbox {
            name,
            config,
            intake: intake.clone(),
            verifier: verifier.clone(),
            process: process.clone(),
            clock: clock::now,
        };
        let worked_on = mailbox.run(tasks.shutdown.clone());
        tasks.spawn(what, worked_on.map(Ok));
    }
}

/// The name of this machine, for people.
fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
