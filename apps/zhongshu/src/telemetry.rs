//! Logs and metrics of the process.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError, LogFormat};

/// What the table's library says at `info` is a page of text at each commit. Whoever wants it names
/// it in `log`.
const QUIET: &str = "buoyant_kernel=warn,delta_kernel=warn,deltalake_core=warn";

/// Starts logging to standard error.
///
/// # Errors
/// [`ConfigError::Value`] when `log` holds no directives.
pub fn start_logging(config: &Config) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log)).map_err(|e| ConfigError::Value {
        key: "log",
        value: config.log.clone(),
        reason: e.to_string(),
    })?;
    // Colours are for a terminal; in a file they are noise.
    let colours = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call (tests in one process) keeps the first subscriber.
    let _ = match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// The process's metrics, made once; hubs of one process (tests) share them.
///
/// # Errors
/// When the recorder cannot be made.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    // Seconds, from a tenth of a millisecond to half a minute.
    let buckets =
        [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("_seconds".into()), &buckets)?
        .build_recorder();
    let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
    // Fails only when another recorder is there: then its handle is the one just read.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    Ok(handle)
}

/// The metrics that matter, with what they mean; docs/operations.md says what to do.
fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("zhongshu_mqtt_connections", "devices connected now");
    describe_counter!("zhongshu_samples_total", "observations committed");
    describe_counter!(
        "zhongshu_mqtt_unreadable_total",
        "messages that could not be read; kept with their reason"
    );
    describe_histogram!(
        "zhongshu_segment_commit_seconds",
        Unit::Seconds,
        "a batch of observations onto the disk"
    );
    describe_histogram!(
        "zhongshu_judge_lag_seconds",
        Unit::Seconds,
        "receipt of a batch to its alerts committed"
    );
    describe_gauge!("zhongshu_alerts_open", "alerts not resolved, by severity");
    describe_gauge!("zhongshu_cases_open", "cases not closed");
    describe_gauge!("zhongshu_tasks_overdue", "open tasks past their due time");
    describe_counter!(
        "zhongshu_notifications_total",
        "tries of notifications, by channel and what came of them"
    );
    describe_gauge!("zhongshu_notifications_waiting", "deliveries not settled, by channel");
    describe_gauge!(
        "zhongshu_notifications_oldest_seconds",
        Unit::Seconds,
        "how late the oldest delivery is, by channel"
    );
    describe_gauge!("zhongshu_notifications_dead", "deliveries that no channel took; page 通知");
    describe_histogram!("zhongshu_command_seconds", Unit::Seconds, "a set of commands, begin to commit");
    describe_histogram!("zhongshu_http_request_seconds", Unit::Seconds, "a request, by method and status");
}
