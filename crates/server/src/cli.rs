//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use time::{Date, macros::format_description};

use crate::{
    command,
    config::Config,
    exit::{Exit, USAGE, code_of},
    log, serve,
};

/// Takes DMARC aggregate reports and answers: who sends mail in my name, does it pass, what happens to it?
///
/// Without DATABASE_URL (or database.url) ruad runs a private PostgreSQL in RUAD_DATA (default ./ruad-data).
///
/// Exit codes: 0 done; 1 not done: there is no such thing, or ours is the fault, nothing is lost, run it again; 2 usage or
/// configuration; 3 done, but something was rejected.
#[derive(Debug, Parser)]
#[command(name = "ruad", version, arg_required_else_help = true)]
struct Cli {
    /// The config file; every key has a default, see config/ruad.toml.
    #[arg(long, global = true, env = "RUAD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve everything: API, mailboxes and background work.
    Serve(ServeArgs),
    /// Import files, folders, mbox files, maildirs; '-' is standard input.
    Import(ImportArgs),
    /// Read and print reports, without any database.
    Show(ShowArgs),
    /// Who sends mail in the name of a domain.
    Sources(SourcesArgs),
    /// Make, list and revoke tokens, which let somebody use the API and the web page.
    #[command(subcommand)]
    Token(TokenCommand),
    /// List and end the sessions of browsers that are signed in.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Look into a mailbox.
    #[command(subcommand)]
    Mailbox(MailboxCommand),
    /// Check that all totals reconcile.
    Verify,
    /// Make the rollup anew from the records.
    Rebuild,
    /// Bring the database's schema up to date.
    Migrate(MigrateArgs),
    /// Print the configuration in force, secrets redacted.
    Config,
    /// Print the OpenAPI document of the API.
    Openapi,
    /// Print what makes a shell complete the arguments of ruad.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man {
        /// Write the pages of all commands into this folder instead.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Ask a running ruad whether it is ready; for probes.
    Healthcheck(ListenArgs),
}

#[derive(Debug, Subcommand)]
enum MailboxCommand {
    /// Connect and log in, say what the server can do and how many mails wait; changes nothing.
    Test {
        /// Its name in the configuration.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token and print it; it is not to be had again.
    Create(TokenArgs),
    /// List all tokens, without their secrets.
    List {
        /// How to print.
        #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
        format: SummaryFormat,
    },
    /// Have a token refused from now on, with the sessions that it began.
    Revoke {
        /// The part of it between the two `_`, as listed.
        #[arg(value_name = "ID")]
        token_id: String,
    },
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List all sessions that last.
    List {
        /// How to print.
        #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
        format: SummaryFormat,
    },
    /// End all sessions of a token or of an identity, which may sign in anew unless that is prevented elsewhere.
    Revoke {
        /// Whose, as listed: the id of a token, or oidc: and the subject of an identity.
        who: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// read: all answers but tokens and the audit; ingest: only uploads; admin: everything.
    #[arg(long, value_enum)]
    pub(crate) scope: TokenScope,
    /// What it is for.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Restrict it to this policy domain and the names below it; may be repeated.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Vec<String>,
    /// After how many days it is refused. Default: never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) expires: Option<u32>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenScope {
    Read,
    Ingest,
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Where the API listens.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Spread the tables over the nodes of a Citus cluster as well; the database is its coordinator.
    #[arg(long)]
    pub(crate) distribute: bool,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Ask nobody for a token, whatever the address: whoever reaches the port can read and delete.
    #[arg(long)]
    insecure_open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// How to print the summary.
    #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
    pub(crate) format: SummaryFormat,
    /// What to import.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Leave the records out.
    #[arg(long)]
    pub(crate) no_records: bool,
    /// What to read; '-' is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SourcesArgs {
    /// The policy domain.
    pub(crate) domain: String,
    /// First day (UTC). Default: 29 days before the last.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) from: Option<Date>,
    /// Last day (UTC). Default: the last day with a report.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) to: Option<Date>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// What to list first.
    #[arg(long, value_enum, default_value_t = Sort::Messages)]
    pub(crate) sort: Sort,
    /// Sources at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: u32,
}

/// Forms of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SummaryFormat {
    Text,
    Json,
}

/// Forms of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Csv,
}

/// Orders of a list of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    Messages,
    Failures,
}

/// Runs the command line and returns the exit code of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; printing them can only fail if nobody listens.
            _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    // They say what the program is, wherever and however it is set up.
    let described = match &cli.command {
        Command::Completions { shell } => Some(command::completions(Cli::command(), *shell)),
        Command::Man { out } => Some(command::man(Cli::command(), out.as_deref())),
        _ => None,
    };
    if let Some(described) = described {
        return match described {
            Ok(exit) => exit.into(),
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => complain(&error, Exit::Failed.into()),
        };
    }
    let config = match settle_config(&cli) {
        Ok(config) => config,
        Err(error) => return complain(&error, ExitCode::from(USAGE)),
    };
    match execute(cli.command, config) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => complain(&error, code_of(&error).into()),
    }
}

/// Reads the configuration, puts the command line over it, and starts the log.
fn settle_config(cli: &Cli) -> Result<Config> {
    let mut config = Config::load(cli.config.as_deref(), std::env::vars_os())?;
    let listen = match &cli.command {
        Command::Serve(ServeArgs { listen, .. }) | Command::Healthcheck(listen) => listen.listen,
        _ => None,
    };
    if let Some(listen) = listen {
        config.listen = listen;
    }
    if let Command::Serve(ServeArgs { insecure_open, .. }) = &cli.command {
        if *insecure_open {
            config.http.access = api::Access::Open;
        } else {
            serve::check_access(&config)?;
        }
    }
    if matches!(
        cli.command,
        Command::Migrate(MigrateArgs { distribute: true })
    ) && config.database.url.is_empty()
    {
        anyhow::bail!(
            "database.url: the private database is no cluster; name the coordinator of one"
        );
    }
    let mut log_config = config.log.clone();
    if !matches!(cli.command, Command::Serve(_)) && log_config.level == log::Config::default().level
    {
        // A command's own output says what it does.
        log_config.level = "warn".into();
    }
    log::start(&log_config)?;
    Ok(config)
}

fn execute(command: Command, config: Config) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let exit = runtime.block_on(async {
        match command {
            Command::Serve(_) => command::serve(config).await,
            Command::Import(args) => command::import(&config, args).await,
            Command::Show(args) => command::show(&config, &args),
            Command::Sources(args) => command::sources(&config, args).await,
            Command::Token(TokenCommand::Create(args)) => {
                command::token::create(&config, args).await
            }
            Command::Token(TokenCommand::List { format }) => {
                command::token::list(&config, format).await
            }
            Command::Token(TokenCommand::Revoke { token_id }) => {
                command::token::revoke(&config, &token_id).await
            }
            Command::Session(SessionCommand::List { format }) => {
                command::session::list(&config, format).await
            }
            Command::Session(SessionCommand::Revoke { who }) => {
                command::session::revoke(&config, &who).await
            }
            Command::Mailbox(MailboxCommand::Test { name }) => {
                command::mailbox::test(&config, &name).await
            }
            Command::Verify => command::verify(&config).await,
            Command::Rebuild => command::rebuild(&config).await,
            Command::Migrate(args) => command::migrate(&config, &args).await,
            Command::Config => command::config(&config),
            Command::Openapi => command::openapi(),
            Command::Healthcheck(_) => command::healthcheck(&config).await,
            Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Done),
        }
    });
    // Reading standard input cannot be interrupted; the process need not wait for it.
    runtime.shutdown_background();
    exit
}

fn complain(error: &anyhow::Error, code: ExitCode) -> ExitCode {
    use std::io::Write as _;
    // Nobody may be listening on standard error.
    _ = writeln!(std::io::stderr(), "ruad: {error:#}");
    code
}

/// `ruad show ... | head` is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn day(text: &str) -> Result<Date, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .ok()
        .filter(|day| store::is_askable(*day))
        .ok_or_else(|| format!("{text:?} is no day of the form YYYY-MM-DD"))
}
