//! Who is measured beside us: programs of Debian and PyPI that `scripts/bench-deps.sh` installs.
//! A bench starts its own, on a free port of loopback and in a folder of its own, and ends them.
//!
//! | file | what is there |
//! | --- | --- |
//! | `process.rs` | a peer's process: started, ready, ended when dropped |
//! | `mosquitto.rs` | Mosquitto, a broker that keeps nothing |
//! | `victoria.rs`, `influx.rs` | VictoriaMetrics and InfluxDB, which take line protocol |
//! | `python.rs` | Python with DuckDB and deltalake, asked line by line |

mod influx;
mod mosquitto;
mod process;
mod python;
mod victoria;

pub use influx::Influx;
pub use mosquitto::Mosquitto;
pub use process::Process;
pub use python::Python;
pub use victoria::Victoria;

/// What people are told when a peer is missing.
const INSTALL: &str = "run scripts/bench-deps.sh";

/// A port of loopback that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The first of these programs that is there.
fn program(candidates: &[&str]) -> anyhow::Result<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let found = candidates.iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
    let mut found = found.filter(|file| file.is_file());
    found.next().ok_or_else(|| anyhow::anyhow!("there is no {}: {INSTALL}", candidates.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        assert!(program(&["sh"]).is_ok());
        let missing = program(&["no-such-program-1", "no-such-program-2"]).unwrap_err().to_string();
        assert!(missing.contains("no-such-program-1 or no-such-program-2"), "{missing}");
        assert!(missing.contains("scripts/bench-deps.sh"), "{missing}");
    }
}
