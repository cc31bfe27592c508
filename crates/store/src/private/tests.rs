//! Against a real PostgreSQL, each test in a data folder of its own.
//!
//! Temporary folders have mode 0700, so a run as root is also the test of a folder that the server's user cannot reach.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;

use super::{Config, Error, PrivateServer, postmaster};

const DEADLINE: Duration = Duration::from_secs(60);

fn config(folder: &TempDir) -> Config {
    Config {
        data: folder.path().join("data"),
        bin_dir: None,
    }
}

async fn start(config: &Config) -> PrivateServer {
    PrivateServer::start(config).await.unwrap()
}

async fn connect(server: &PrivateServer) -> PgConnection {
    server.connect_options().connect().await.unwrap()
}

async fn setting(server: &PrivateServer, name: &str) -> String {
    let query = sqlx::query_scalar("select current_setting($1)").bind(name);
    query.fetch_one(&mut connect(server).await).await.unwrap()
}

fn cluster(config: &Config) -> PathBuf {
    config.data.join("postgres")
}

fn server_pid(config: &Config) -> Option<Pid> {
    postmaster::find(&cluster(config), &cluster(config))
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < DEADLINE, "still waiting: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ends the server and all its processes at once, as a power cut would.
async fn kill_everything(server: &PrivateServer, config: &Config) {
    let pids: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity")
        .fetch_all(&mut connect(server).await)
        .await
        .unwrap();
    kill_process(server_pid(config).unwrap(), Signal::KILL).unwrap();
    for pid in pids {
        // Some are gone by now.
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
}

async fn store_a_row(server: &PrivateServer) {
    let mut connection = connect(server).await;
    sqlx::query("create table kept as select 42 as answer")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn read_the_row(server: &PrivateServer) -> i32 {
    sqlx::query_scalar("select answer from kept")
        .fetch_one(&mut connect(server).await)
        .await
        .unwrap()
}

#[tokio::test]
async fn first_start_makes_a_private_safe_cluster() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let server = start(&config).await;

    assert_eq!(setting(&server, "listen_addresses").await, "");
    assert_eq!(setting(&server, "server_encoding").await, "UTF8");
    assert_eq!(setting(&server, "lc_collate").await, "C");
    assert_eq!(setting(&server, "data_checksums").await, "on");
    for durable in ["fsync", "synchronous_commit", "full_page_writes"] {
        assert_eq!(setting(&server, durable).await, "on");
    }
    assert_eq!(setting(&server, "max_wal_size").await, "2GB");
    let identity: (String, String, bool) = sqlx::query_as(
        "select current_database(), current_user::text, rolsuper from pg_roles where rolname = current_user",
    )
    .fetch_one(&mut connect(&server).await)
    .await
    .unwrap();
    assert_eq!(identity, ("ruad".to_owned(), "ruad".to_owned(), true));

    let cluster = fs::metadata(cluster(&config)).unwrap();
    assert_eq!(cluster.permissions().mode() & 0o777, 0o700);
    assert_ne!(cluster.uid(), 0, "the server must not run as root");
    let pid = server_pid(&config).unwrap().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let groups = status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .unwrap();
    assert!(
        !geteuid().is_root() || groups.trim().is_empty(),
        "root's groups are left: {groups}"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn last_one_out_stops_the_server() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let first = start(&config).await;
    let pid = server_pid(&config);
    let second = start(&config).await;
    assert_eq!(server_pid(&config), pid, "the second one adopts the server");

    first.stop().await.unwrap();
    assert_eq!(setting(&second, "port").await, "5432");
    second.stop().await.unwrap();
    assert_eq!(server_pid(&config), None);
    assert!(
        !cluster(&config).join("postmaster.pid").exists(),
        "the server was stopped in an orderly way"
    );
}

#[tokio::test]
async fn dropped_server_is_adopted() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    drop(start(&config).await);
    let pid = server_pid(&config);
    assert!(pid.is_some(), "the server survives");

    let next = start(&config).await;
    assert_eq!(server_pid(&config), pid);
    next.stop().await.unwrap();
    assert_eq!(server_pid(&config), None);
}

#[tokio::test]
async fn start_waits_for_a_stop() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let mut server = start(&config).await;
    for _ in 0..5 {
        let (stopped, next) = tokio::join!(server.stop(), start(&config));
        stopped.unwrap();
        server = next;
        assert_eq!(setting(&server, "port").await, "5432");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn watcher_starts_a_dead_server_again() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let owner = start(&config).await;
    let guest = start(&config).await;
    store_a_row(&owner).await;

    kill_everything(&owner, &config).await;
    eventually("the server of the first is back", async || {
        owner.connect_options().connect().await.is_ok()
    })
    .await;
    assert_eq!(read_the_row(&owner).await, 42);

    // Now nobody but the guest is left, whose child the server is not.
    drop(owner);
    kill_process(server_pid(&config).unwrap(), Signal::KILL).unwrap();
    eventually("the server of the second is back", async || {
        guest.connect_options().connect().await.is_ok()
    })
    .await;
    assert_eq!(read_the_row(&guest).await, 42);
    guest.stop().await.unwrap();
}

#[tokio::test]
async fn watcher_ends_with_its_server() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let server = start(&config).await;
    server.stop().await.unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    eventually("no task is left", async || metrics.num_alive_tasks() == 0).await;
}

#[tokio::test]
async fn next_start_recovers_from_a_crash() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let server = start(&config).await;
    store_a_row(&server).await;
    let pid = server_pid(&config).unwrap();
    kill_everything(&server, &config).await;
    drop(server);
    eventually("the server is gone", async || {
        server_pid(&config) != Some(pid)
    })
    .await;

    let next = start(&config).await;
    assert_eq!(read_the_row(&next).await, 42);
    next.stop().await.unwrap();
}

#[tokio::test]
async fn reused_process_id_does_not_block() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let server = start(&config).await;
    store_a_row(&server).await;
    server.stop().await.unwrap();
    let mut bystander = spawn_as_owner_of(&cluster(&config));
    for claim in ["postmaster.pid", ".s.PGSQL.5432.lock"] {
        fs::write(
            cluster(&config).join(claim),
            format!("{}\n/nowhere\n0\n5432\n.\n\n0 0\n", bystander.id()),
        )
        .unwrap();
    }

    let next = start(&config).await;
    assert_eq!(read_the_row(&next).await, 42);
    next.stop().await.unwrap();
    assert!(
        test_kill_process(Pid::from_child(&bystander)).is_ok(),
        "the bystander was left alone"
    );
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

/// A process of the server's user that has nothing to do with it.
fn spawn_as_owner_of(folder: &Path) -> Child {
    let mut command = Command::new("sleep");
    command.arg("600").current_dir("/");
    if geteuid().is_root() {
        command.uid(fs::metadata(folder).unwrap().uid());
    }
    command.spawn().unwrap()
}

#[tokio::test]
async fn truncated_claim_does_not_block() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    start(&config).await.stop().await.unwrap();
    fs::write(cluster(&config).join("postmaster.pid"), "").unwrap();

    start(&config).await.stop().await.unwrap();
}

#[tokio::test]
async fn long_data_path_works() {
    let folder = TempDir::new().unwrap();
    let long = folder
        .path()
        .join("long ".repeat(20))
        .join("and longer ".repeat(12));
    let config = Config {
        data: long,
        bin_dir: None,
    };
    let server = start(&config).await;
    let guest = start(&config).await;
    assert_eq!(setting(&guest, "port").await, "5432");
    server.stop().await.unwrap();
    guest.stop().await.unwrap();
    assert_eq!(server_pid(&config), None);
}

#[tokio::test]
async fn unfinished_cluster_is_made_anew() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    let unfinished = config.data.join("postgres.new-1");
    fs::create_dir_all(unfinished.join("base")).unwrap();

    start(&config).await.stop().await.unwrap();
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn long_log_starts_over() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    fs::create_dir_all(&config.data).unwrap();
    let log = config.data.join("postgres.log");
    fs::write(&log, vec![b'\n'; 9 << 20]).unwrap();

    start(&config).await.stop().await.unwrap();
    assert!(fs::metadata(&log).unwrap().len() < 1 << 20);
}

#[tokio::test]
async fn broken_settings_are_reported_with_the_log() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    start(&config).await.stop().await.unwrap();
    fs::write(
        cluster(&config).join("postgresql.conf"),
        "no_such_setting = 1\n",
    )
    .unwrap();

    let error = PrivateServer::start(&config).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn missing_binaries_are_named() {
    let folder = TempDir::new().unwrap();
    let config = Config {
        bin_dir: Some(folder.path().to_owned()),
        ..config(&folder)
    };
    let error = PrivateServer::start(&config).await.unwrap_err();
    let path = folder.path().display();
    assert_eq!(
        error.to_string(),
        format!("no `initdb` and `postgres` of PostgreSQL 15 or newer in {path}")
    );
}

#[tokio::test]
async fn cluster_of_another_major_is_named() {
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    fs::create_dir_all(cluster(&config)).unwrap();
    fs::write(cluster(&config).join("PG_VERSION"), "9\n").unwrap();
    let error = PrivateServer::start(&config).await.unwrap_err();
    assert!(
        matches!(error, Error::OtherMajor { major: 9, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn unusable_data_folder_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = PrivateServer::start(&Config {
        data: file.join("data"),
        bin_dir: None,
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn cluster_of_root_is_refused() {
    if !geteuid().is_root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let config = config(&folder);
    fs::create_dir_all(cluster(&config)).unwrap();
    let error = PrivateServer::start(&config).await.unwrap_err();
    assert!(
        matches!(error, Error::ForeignCluster { owner: 0, .. }),
        "{error}"
    );
}
