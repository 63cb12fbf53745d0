//! The machine under the bench: what it has, and what each process took of it.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Writes of 4 KiB, each followed by fdatasync, that tell what the disk costs.
const SYNCS: usize = 200;

/// How many cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Processes that wanted to run in the last minute, on average: others on this machine disturb.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// The median of 200 times 4 KiB written and fdatasync'ed in `folder`.
pub fn fdatasync_p50(folder: &Path) -> Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)
        .with_context(|| format!("failed to make a file in {}", folder.display()))?;
    let block = [0x5a_u8; 4096];
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took[SYNCS / 2])
}

/// How many open files this process, and each that it starts, may have at most.
pub fn most_open_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit of open files for this process and what it starts: a connection is one.
pub fn allow_open_files(wanted: u64) -> Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|c| c >= wanted) {
        return Ok(());
    }
    if now.maximum.is_some_and(|m| m < wanted) {
        bail!(
            "{wanted} open files are needed and the hard limit is {}: raise it with ulimit -Hn",
            now.maximum.unwrap_or_default()
        );
    }
    let raised = Rlimit { current: Some(wanted), maximum: now.maximum };
    setrlimit(Resource::Nofile, raised).context("failed to raise the limit of open files")
}

/// CPU seconds, of user and system, that a process has taken with all its threads.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("the process {pid} is gone"))?;
    let (_, ticks) = parse_stat(&stat).with_context(|| format!("/proc/{pid}/stat reads {stat:?}"))?;
    Ok(seconds(ticks))
}

/// CPU seconds of all processes of this name: a PostgreSQL is one a connection.
pub fn cpu_seconds_of_name(name: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|p| std::fs::read_to_string(p.path().join("stat")).ok());
    let ticks: u64 =
        stats.filter_map(|s| parse_stat(&s).filter(|(n, _)| n == name).map(|(_, ticks)| ticks)).sum();
    seconds(ticks)
}

/// The memory that a process holds now (resident), in KiB.
pub fn memory_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("the process {pid} is gone"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.with_context(|| format!("/proc/{pid}/status tells no VmRSS"))
}

/// The most memory a process has held, in MiB.
pub fn peak_memory_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Name, and ticks of user and system, of a line of `/proc/PID/stat` (proc(5), fields 2, 14, 15).
fn parse_stat(stat: &str) -> Option<(String, u64)> {
    // The name may hold spaces and parentheses itself: it ends at the last one.
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194304 90 0 0 0 120 34 0 0 20 0 9 0 55 1 2";
        assert_eq!(parse_stat(line), Some(("a) b (c)".to_owned(), 154)));
        assert_eq!(parse_stat("7 nonsense"), None);
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_a_cpu_a_memory_and_a_disk() {
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        assert!(peak_memory_mib(std::process::id()).unwrap() > 0.1);
        assert!(fdatasync_p50(&std::env::temp_dir()).unwrap() > Duration::ZERO);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
