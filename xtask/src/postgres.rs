//! A command beside a private PostgreSQL server.

mod server;

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use server::Server;

/// The variable that names the server to tests.
const VARIABLE: &str = "ZHONGSHU_TEST_POSTGRES";

pub fn run_beside(command: &[String]) -> Result<()> {
    let [program, args @ ..] = command else { bail!("with-postgres needs a command") };
    if std::env::var_os(VARIABLE).is_some() {
        eprintln!("{VARIABLE} is set: using that server");
        return finish(plain(program).args(args).status());
    }
    let server = Server::start()?;
    eprintln!("PostgreSQL: {} at {}", server.binaries().display(), server.url());
    let status = plain(program).args(args).env(VARIABLE, server.url()).status();
    drop(server);
    finish(status)
}

/// A command without what cargo told this program about itself: the build script of `ring` looks at
/// those variables, and a cargo below this one would build it anew, and all that stands on it.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_"];
        if told.iter().any(|told| name.to_string_lossy().starts_with(told)) {
            command.env_remove(name);
        }
    }
    command
}

fn finish(status: std::io::Result<std::process::ExitStatus>) -> Result<()> {
    let status = status.context("failed to start the command")?;
    // The command's own output has said what failed.
    std::process::exit(status.code().unwrap_or(1));
}
