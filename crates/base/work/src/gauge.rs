//! The room's gauges: open cases, open and overdue tasks.

use std::sync::Arc;
use std::time::Duration;

use store::{args, now};

use crate::Room;

store::statements! {
    CASES = "SELECT COUNT(*) FROM cases WHERE closed = 0";
    TASKS = "SELECT COUNT(*) FROM tasks WHERE state = 'open'";
    OVERDUE = "SELECT COUNT(*) FROM tasks WHERE state = 'open' AND due_at < $1";
}

/// Counts every few seconds until the room stops.
pub(crate) async fn run(room: Arc<Room>) {
    let count = async |sql, args| {
        room.store.read().opt::<(i64,)>(sql, args).await.ok().flatten().map(|(n,)| n as f64)
    };
    loop {
        for (name, n) in [
            ("zhongshu_cases_open", count(CASES, args![]).await),
            ("zhongshu_tasks_open", count(TASKS, args![]).await),
            ("zhongshu_tasks_overdue", count(OVERDUE, args![now()]).await),
        ] {
            if let Some(n) = n {
                metrics::gauge!(name).set(n);
            }
        }
        tokio::select! {
            () = room.stop.cancelled() => break,
            () = room.store.stopped() => break,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
}
