//! `zhongshu`: the hub, and the doors of set-up.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use zhongshu::commands::{admin, audit, backup, check, contact, import, load, pack, restore, token};
use zhongshu::hub::open_store;
use zhongshu::{Config, Hub, telemetry};

/// Zhongshu (中枢): the operations hub of a city.
#[derive(Parser)]
#[command(version, about = "中枢 Zhongshu, the operations hub of a city", max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// Settings; each may also stand in the file or in a variable ZHONGSHU_<NAME>.
#[derive(Args)]
struct Settings {
    /// The configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "ZHONGSHU_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything lies that is not in PostgreSQL [default: ./zhongshu-data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_folder: Option<String>,
    /// postgres://… or the path of an SQLite file [default: state.db in the data folder]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// Where pages and API listen [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    http: Option<String>,
    /// Where devices connect [default: 127.0.0.1:1883]
    #[arg(long, global = true, value_name = "ADDRESS")]
    mqtt: Option<String>,
    /// Where pages and API listen with TLS besides [default: nowhere]
    #[arg(long, global = true, value_name = "ADDRESS")]
    https: Option<String>,
    /// Where devices connect with TLS besides [default: nowhere]
    #[arg(long, global = true, value_name = "ADDRESS")]
    mqtts: Option<String>,
    /// Where the table of observations lies: a folder, or s3://bucket/prefix [default: lake in the data folder]
    #[arg(long, global = true, value_name = "PLACE")]
    lake: Option<String>,
    /// How often observations move from the log to the table [default: 60s]
    #[arg(long, global = true, value_name = "DURATION")]
    lake_compact_every: Option<String>,
    /// The time zone of the city [default: Asia/Shanghai]
    #[arg(long, global = true, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Durations in processes are divided by this [default: 1]
    #[arg(long, global = true, value_name = "FACTOR")]
    process_speed: Option<String>,
    /// What is logged [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<String>,
    /// text or json [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the hub.
    Serve,
    /// Imports areas, features, organisations, posts and things from a folder of files.
    Import {
        /// The folder.
        folder: PathBuf,
    },
    /// Accounts.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// The audit (审计).
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Packs (场景包).
    #[command(subcommand)]
    Pack(PackCommand),
    /// Backs up the hub while it runs; what the folder holds already is not copied again.
    Backup(backup::Backup),
    /// Restores a backup to an empty data folder (and an empty database).
    Restore(restore::Restore),
    /// Tokens of integrators (集成方): other systems that write or read observations.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Loads files of observations (CSV, Parquet) into a running hub.
    Load(load::Load),
    /// Checks the configuration, and packs if folders are given, without touching the state.
    Check {
        /// Folders of packs.
        packs: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum AdminCommand {
    /// Makes an account (or renews its password) and prints a one-time password.
    Create(admin::Create),
    /// Sets where a person is reached and when not; what is not given stays as it is. While the hub
    /// runs everybody does it for themselves, on the page of messages.
    Contact(contact::SetContact),
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Reads the whole audit and names the first entry that was changed, taken out or put in. The
    /// hub may run.
    Verify(audit::Verify),
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Makes a token and prints its secret, once.
    Create(token::Create),
    /// Lists tokens, revoked ones too.
    List,
    /// Revokes a token. While the hub runs: DELETE /api/v1/tokens/NAME.
    Revoke {
        /// Its name.
        name: String,
    },
}

#[derive(Subcommand)]
enum PackCommand {
    /// Installs a pack, or a newer version of it; refuses it whole if anything in it is wrong.
    Install {
        /// The folder.
        folder: PathBuf,
    },
    /// Lists the installed packs.
    List,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("zhongshu: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let Cli { settings: s, command } = Cli::parse();
    let flags = [
        ("data_folder", s.data_folder),
        ("database", s.database),
        ("http", s.http),
        ("mqtt", s.mqtt),
        ("https", s.https),
        ("mqtts", s.mqtts),
        ("lake", s.lake),
        ("lake_compact_every", s.lake_compact_every),
        ("time_zone", s.time_zone),
        ("process_speed", s.process_speed),
        ("log", s.log),
        ("log_format", s.log_format),
    ];
    let config = Config::read(s.config.as_deref(), &flags)?;
    telemetry::start_logging(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(execute(config, command))
}

async fn execute(config: Config, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve => serve(config).await,
        Command::Check { packs } => {
            println!("configuration: right");
            for line in check::packs(&packs)? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Backup(asked) if asked.verify => {
            for line in backup::verify(&asked.folder)? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Backup(asked) => {
            let done = backup::backup(&config, &asked.folder, asked.keep).await?;
            println!(
                "backed up {}: {} bytes, of them new {} in {} objects",
                done.name,
                done.manifest.bytes(),
                done.written.bytes,
                done.written.objects
            );
            if done.pruned.0 > 0 {
                println!("removed {} older backups and {} objects", done.pruned.0, done.pruned.1);
            }
            Ok(())
        }
        Command::Restore(asked) => {
            let (name, manifest) = restore::restore(&config, &asked).await?;
            for stream in &manifest.streams {
                println!("{}: {} bytes", stream.name, stream.bytes);
            }
            println!("restored {name}: {} files, {} bytes in all", manifest.files.len(), manifest.bytes());
            Ok(())
        }
        Command::Import { folder } => {
            let store = open_store(&config).await?;
            let shown = std::io::stderr().is_terminal();
            let result = import::folder(&store, &folder, |file| {
                if shown {
                    eprintln!("importing {file} …");
                }
            })
            .await;
            store.stop().await;
            for (file, rows) in result? {
                println!("{file}: {rows} rows");
            }
            Ok(())
        }
        Command::Admin(AdminCommand::Create(account)) => {
            let store = open_store(&config).await?;
            let login = account.login.clone();
            let result = admin::create(&store, account).await;
            store.stop().await;
            println!("{login}\t{}", result?);
            Ok(())
        }
        Command::Admin(AdminCommand::Contact(contact)) => {
            let store = open_store(&config).await?;
            let result = contact::set(&store, contact).await;
            store.stop().await;
            result
        }
        Command::Audit(AuditCommand::Verify(asked)) => {
            println!("{}", audit::verify(&config, &asked).await?);
            Ok(())
        }
        Command::Token(command) => {
            let store = open_store(&config).await?;
            let result = match command {
                TokenCommand::Create(new) => token::create(&store, new).await.map(|secret| vec![secret]),
                TokenCommand::List => token::list(&store).await,
                TokenCommand::Revoke { name } => token::revoke(&store, &name).await.map(|()| Vec::new()),
            };
            store.stop().await;
            for line in result? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Load(files) => {
            for line in load::load(&files).await? {
                println!("{line}");
            }
            Ok(())
        }
        Command::Pack(PackCommand::Install { folder }) => {
            let store = open_store(&config).await?;
            let result = pack::install(&store, &folder).await;
            store.stop().await;
            let (name, version) = result?;
            println!("installed {name} {version}");
            Ok(())
        }
        Command::Pack(PackCommand::List) => {
            let store = open_store(&config).await?;
            let packs = platform::pack::installed(&store).await;
            store.stop().await;
            for pack in packs? {
                println!("{}\t{}\t{} files", pack.name, pack.version, pack.files.len());
            }
            Ok(())
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    raise_open_files(config.mqtt_connections);
    let hub = Hub::start(config).await?;
    println!("pages and API: http://{}", hub.http());
    println!("devices (MQTT): {}", hub.mqtt());
    if let Some(address) = hub.https() {
        println!("pages and API with TLS: https://{address}");
    }
    if let Some(address) = hub.mqtts() {
        println!("devices with TLS (MQTT): {address}");
    }
    let lost = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = hub.store_stopped() => true,
    };
    if !hub.stop().await {
        // Tasks that hang would keep the runtime: nothing acknowledged depends on them.
        std::process::exit(1);
    }
    if lost {
        anyhow::bail!("the hold on the database was lost; start the hub again once the database is back");
    }
    Ok(())
}

/// A connection is an open file, and the usual soft limit is 1,024: takes what the hard limit
/// gives, and says so when that is too little for the devices that may come.
fn raise_open_files(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    // Databases, pages and files of the hub itself.
    let needed = connections as u64 + 1024;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < needed) {
        limit.current = limit.maximum.map_or(Some(needed), |hard| Some(hard.min(needed)));
        if let Err(e) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(error = %e, "the limit of open files could not be raised");
        }
    }
    if let Some(soft) = getrlimit(Resource::Nofile).current.filter(|soft| *soft < needed) {
        tracing::warn!(
            limit = soft,
            needed,
            "open files are limited below what mqtt_connections may need; raise LimitNOFILE or ulimit -n"
        );
    }
}
