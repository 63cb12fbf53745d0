//! Backing up a hub that runs, and restoring it elsewhere: on both databases, by the real binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use store::Backend;
use store::testing::TestDatabase;
use testkit::Installation;
use zhongshu::commands::vault::{Vault, VaultError};

use crate::city::photo;
use crate::load::{Findings, Ledger, Load, Site, audit_settled, preload, stored};

async fn acknowledged(ledger: &Ledger, samples: usize, tasks: usize) {
    let more = ledger.acknowledged();
    while ledger.acknowledged().0 < more.0 + samples || ledger.acknowledged().1 < more.1 + tasks {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An empty machine of the same kind: installation and what must live as long.
async fn elsewhere(site: &Site, folder: &Path) -> (Installation, Option<TestDatabase>) {
    match &site.database.backend {
        Backend::Sqlite { .. } => (site.moved(folder, None), None),
        Backend::Postgres { .. } => {
            let database = TestDatabase::postgres().await.unwrap();
            let Backend::Postgres { url } = database.backend.clone() else { unreachable!() };
            (site.moved(folder, Some(url)), Some(database))
        }
    }
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

fn objects(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder.join("objects")).unwrap().map(|e| e.unwrap().path());
    folders.flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path())).collect()
}

/// Bytes that do not compress (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_restores_everything_acknowledged_before_it_began() {
    for database in TestDatabase::each().await {
        let name = database.backend.name();
        let site = Site::with_busy_lake(database, 20).await;
        preload(&site, 20, 100_000).await;
        // A table beside those of the hub, with what is left out: a hint, and a file half written.
        let table = site.installation.data.join("lake/other");
        fs::create_dir_all(table.join("_delta_log")).unwrap();
        fs::create_dir_all(table.join("day=2026-11-24")).unwrap();
        fs::write(table.join("_delta_log/00000000000000000000.json"), "{}").unwrap();
        fs::write(table.join("_delta_log/_last_checkpoint"), "{}").unwrap();
        // So much that does not change that what the load adds between two backups is little beside it.
        let settled = noise(6 << 20);
        fs::write(table.join("day=2026-11-24/part-1.parquet"), &settled).unwrap();
        fs::write(table.join("day=2026-11-24/part-2.parquet#1"), "half").unwrap();

        let hub = site.installation.serve().await.unwrap();
        let cleaner = site.cleaner(&hub).await;
        let picture = cleaner.send_photo(photo()).await.unwrap();
        let ledger = Arc::new(Ledger::default());
        let load = Load::start(&site, &hub, &ledger).await;
        acknowledged(&ledger, 300, 3).await;

        let vault = site.folder.path().join("backups");
        let into = vault.to_str().unwrap();
        let before = ledger.so_far();
        let began = std::time::Instant::now();
        let said = site.installation.run(&["backup", into]).await.unwrap();
        eprintln!("backup on {name} under load: {:.2} s: {}", began.elapsed().as_secs_f64(), said.trim());
        assert!(said.starts_with("backed up 20"), "{said}");
        let first = size(&vault);
        acknowledged(&ledger, 300, 3).await;
        let between = ledger.so_far();
        let said = site.installation.run(&["backup", into]).await.unwrap();
        let second = size(&vault) - first;
        eprintln!("backup on {name}: the second is {second} bytes of {first}: {}", said.trim());
        assert!(second < first / 2, "the second backup took {second} bytes, the first {first}");
        drop(load);
        hub.kill().await.unwrap();
        site.installation.run(&["backup", into, "--verify"]).await.unwrap();

        // Each to a machine of its own; the first is named, the second is the last.
        let names = Vault::open(&vault).unwrap().list().unwrap();
        for (at, ledger) in [(&["--at", names[0].as_str()][..], &before), (&[][..], &between)] {
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path().join("hub");
            let (there, _database) = elsewhere(&site, &data).await;
            let said = there.run(&[&["restore", into], at].concat()).await.unwrap();
            assert!(said.contains("restored 20"), "{said}");
            // A restore never writes over anything.
            let again = there.run(&["restore", into]).await.unwrap_err().to_string();
            assert!(again.contains("is not empty"), "{again}");

            let hub = there.serve().await.unwrap();
            let cleaner = site.cleaner(&hub).await;
            let Findings { samples, tasks, alerts, wrong } = audit_settled(ledger, &cleaner).await;
            assert_eq!((samples, tasks, alerts), (0, 0, 0), "{wrong:?}");
            // More may be there than was acknowledged before the backup began; nothing may be twice.
            let twice: Vec<&String> = wrong.iter().filter(|w| w.contains("twice")).collect();
            assert!(twice.is_empty(), "{twice:?}");
            let file = cleaner.send("GET", &format!("/api/v1/files/{picture}"), None).await.unwrap();
            assert_eq!(file.status(), 200);
            let lake = data.join("lake/other");
            assert!(fs::read(lake.join("day=2026-11-24/part-1.parquet")).unwrap() == settled);
            assert!(lake.join("_delta_log/00000000000000000000.json").exists());
            assert!(!lake.join("_delta_log/_last_checkpoint").exists());
            assert!(!lake.join("day=2026-11-24/part-2.parquet#1").exists());

            // It is a hub like any other: it takes samples, judges them, and starts again.
            let device = site.device(&hub, "bin-1").await;
            let had = stored(&cleaner, "bin-1").await.len();
            let new = Ledger::default();
            assert!(new.publish(&device, 4.0).await && new.publish(&device, 4.0).await);
            assert!(hub.stop().await.unwrap());
            let hub = there.serve().await.unwrap();
            let cleaner = site.cleaner(&hub).await;
            assert_eq!(stored(&cleaner, "bin-1").await.len(), had + 2);
            hub.kill().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_damaged_is_named_and_nothing_is_restored() {
    for database in TestDatabase::each().await {
        let site = Site::new(database, 0).await;
        let hub = site.installation.serve().await.unwrap();
        assert!(hub.stop().await.unwrap());
        let vault = site.folder.path().join("backups");
        let into = vault.to_str().unwrap();
        site.installation.run(&["backup", into]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("hub");
        let (there, _database) = elsewhere(&site, &data).await;

        let object = objects(&vault).into_iter().max_by_key(|o| fs::metadata(o).unwrap().len()).unwrap();
        let name = object.file_stem().unwrap().to_str().unwrap().to_owned();
        let whole = fs::read(&object).unwrap();
        let mut flipped = whole.clone();
        // One bit may stand for the same bytes in another way (a match found elsewhere): many do not.
        let middle = flipped.len() / 2;
        flipped[middle..].iter_mut().take(64).for_each(|byte| *byte ^= 0xFF);
        for damage in [Some(flipped), Some(whole[..whole.len() / 2].to_vec()), None] {
            match damage {
                Some(bytes) => fs::write(&object, bytes).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            let found = site.installation.run(&["backup", into, "--verify"]).await.unwrap_err().to_string();
            assert!(found.contains(&name), "{found}");
            let refused = there.run(&["restore", into]).await.unwrap_err().to_string();
            assert!(refused.contains(&name) && refused.contains("nothing was restored"), "{refused}");
            assert!(!data.exists());
        }
        fs::write(&object, &whole).unwrap();

        // A manifest that was changed or cut is no backup.
        let manifest = fs::read_dir(vault.join("backups")).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&manifest).unwrap();
        for wrong in [text.replace("\"hub\": \"", "\"hub\": \"9."), text[..text.len() / 2].to_owned()] {
            fs::write(&manifest, wrong).unwrap();
            assert!(there.run(&["restore", into]).await.unwrap_err().to_string().contains("manifest"));
        }
        fs::write(&manifest, &text).unwrap();
        there.run(&["restore", into]).await.unwrap();
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let vault = folder.path().join("backups");
    let (empty, into) = (empty.to_str().unwrap(), vault.to_str().unwrap());
    let there = site.moved(&folder.path().join("hub"), None);
    for (hub, args, says) in [
        (&there, vec!["restore", empty], "it holds no folder backups/"),
        (&there, vec!["backup", into], "is this the hub's data folder?"),
        (&there, vec!["restore", into], "holds no backup"),
        (&site.installation, vec!["backup", into, "--keep", "0"], "0 is not in"),
    ] {
        let refused = hub.run(&args).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{args:?}: {refused}");
    }
    site.installation.run(&["backup", into]).await.unwrap();
    let other = Installation { database: Some("postgres://nobody@127.0.0.1:1/x".into()), ..there.clone() };
    for (hub, args, says) in [
        (&there, vec!["restore", into, "--at", "1999"], "no backup \"1999\""),
        (&other, vec!["restore", into], "set --database"),
        (&site.installation, vec!["restore", into], "is not empty"),
    ] {
        let refused = hub.run(&args).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{args:?}: {refused}");
    }
    // One at a time.
    let held = Vault::open_to_write(&vault).unwrap();
    assert!(matches!(Vault::open_to_write(&vault), Err(VaultError::Busy(_))));
    let refused = site.installation.run(&["backup", into]).await.unwrap_err().to_string();
    assert!(refused.contains("another backup is writing"), "{refused}");
    drop(held);
}

#[tokio::test]
async fn pruning_keeps_the_last_ones_whole() {
    let site = Site::new(TestDatabase::sqlite(), 0).await;
    let vault = site.folder.path().join("backups");
    let into = vault.to_str().unwrap();
    for round in 1..=4 {
        site.installation.account(&format!("guest-{round}"), "guest@park", None).await.unwrap();
        site.installation.run(&["backup", into, "--keep", "2"]).await.unwrap();
        let opened = Vault::open(&vault).unwrap();
        let names = opened.list().unwrap();
        assert_eq!(names.len(), round.min(2));
        let mut needed: Vec<String> = names
            .iter()
            .flat_map(|n| opened.read(n).unwrap().objects().map(|(o, _)| o.to_owned()).collect::<Vec<_>>())
            .collect();
        needed.sort();
        needed.dedup();
        let mut there: Vec<String> =
            objects(&vault).iter().map(|o| o.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        there.sort();
        assert_eq!(there, needed, "what is needed is there and nothing else");
    }
    // What a backup that was cut off left behind is nobody's, and goes.
    let left = vault.join("objects/00");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join(format!("{}.gz", "0".repeat(64))), "half").unwrap();
    site.installation.run(&["backup", into, "--keep", "2"]).await.unwrap();
    assert!(fs::read_dir(left).unwrap().next().is_none());
    site.installation.run(&["backup", into, "--verify"]).await.unwrap();
}
