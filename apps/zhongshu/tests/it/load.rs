//! A small city under load, run by the real binary, and the ledger of what was acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citysim::client::Device;
use model::Micros;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::Backend;
use store::testing::TestDatabase;
use testkit::{Client, Installation, Running};
use tokio::task::JoinSet;

use crate::city::{BOUND, bins_pack};

/// Bins whose alerts are followed one by one: one message in flight, so that their order is known.
pub const WITNESSES: usize = 3;
/// Bins that send as much as they may.
pub const FLOODERS: usize = 5;
/// Bins that another system writes for by line protocol, each by a connection of its own.
pub const WRITTEN: usize = 2;
/// Instants in one body of line protocol.
const BODY: usize = 10;
/// Messages that a flooder keeps in flight.
const LANES: usize = 6;
/// Samples of one flooder in one round at most: a curve holds 8,192.
const PER_ROUND: usize = 700;
const LOW: f64 = 3.0;
const HIGH: f64 = 4.0;

/// An installed hub with the city of bins, and whose it is.
pub struct Site {
    pub installation: Installation,
    pub secrets: HashMap<String, String>,
    pub password: String,
    /// The secret of a token that may write.
    pub token: String,
    pub database: TestDatabase,
    pub folder: tempfile::TempDir,
}

/// `bin-1` … and `old-1` …, which nobody sends for.
pub fn city(folder: &Path, bins: usize, old: usize) -> HashMap<String, String> {
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    write(
        "areas.csv",
        "code,level,parent,name_zh,name_en\n50,city,,重庆市,Chongqing\n500112,district,50,渝北区,Yubei\npark,estate,500112,公园,Park\n",
    );
    write("posts.csv", "code,name_zh,name_en,level\ncleaning,保洁岗,Cleaning,estate\n");
    let mut things =
        String::from("code,type,area,name_zh,name_en,place_zh,place_en,lon,lat,public,properties\n");
    let mut credentials = String::from("thing,secret_sha256\n");
    let mut secrets = HashMap::new();
    let names = (1..=bins).map(|i| format!("bin-{i}")).chain((1..=old).map(|i| format!("old-{i}")));
    for name in names {
        things.push_str(&format!(
            "{name},litter-bin,park,{name} 号桶,{name},公园,Park,106.5,29.6,false,{{}}\n"
        ));
        let secret = format!("{:0>64}", hex(name.as_bytes()));
        credentials.push_str(&format!("{name},{}\n", hex(&Sha256::digest(secret.as_bytes()))));
        secrets.insert(name, secret);
    }
    write("things.csv", &things);
    write("credentials.csv", &credentials);
    secrets
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Site {
    /// Installs by the doors of production. SQLite's files lie in the hub's data folder.
    pub async fn new(database: TestDatabase, old: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match &database.backend {
            Backend::Sqlite { .. } => None,
            Backend::Postgres { url } => Some(url.clone()),
        };
        let data = folder.path().join("hub");
        let installation = Installation::new(Path::new(env!("CARGO_BIN_EXE_zhongshu")), &data, url);
        let city_folder = folder.path().join("city");
        std::fs::create_dir(&city_folder).unwrap();
        let secrets = city(&city_folder, WITNESSES + FLOODERS + WRITTEN, old);
        installation.run(&["pack", "install", bins_pack().to_str().unwrap()]).await.unwrap();
        installation.run(&["import", city_folder.to_str().unwrap()]).await.unwrap();
        let password = installation.account("cleaner", "cleaner@park", Some("cleaning@park")).await.unwrap();
        let token = ["token", "create", "--name", "writer", "--area", "park", "--write"];
        let token = installation.run(&token).await.unwrap().trim().to_owned();
        Self { installation, secrets, password, token, database, folder }
    }

    /// The same with a lake that takes segments into its table every second: what is acknowledged
    /// is on its way from one to the other all the time.
    pub async fn with_busy_lake(database: TestDatabase, old: usize) -> Self {
        let mut site = Self::new(database, old).await;
        site.installation = site.installation.variable("ZHONGSHU_LAKE_COMPACT_EVERY", "1s");
        site
    }

    pub fn backend(&self) -> Backend {
        match &self.database.backend {
            Backend::Sqlite { .. } => Backend::Sqlite { path: self.installation.data.join("state.db") },
            postgres @ Backend::Postgres { .. } => postgres.clone(),
        }
    }

    pub async fn cleaner(&self, running: &Running) -> Client {
        Client::log_in(&running.url, "cleaner", &self.password).await.unwrap()
    }

    /// The same while the hub may refuse.
    pub async fn cleaner_if(&self, running: &Running) -> Option<Client> {
        Client::log_in(&running.url, "cleaner", &self.password).await.ok()
    }

    pub async fn device(&self, running: &Running, thing: &str) -> Device {
        Device::connect(running.mqtt, thing, &self.secrets[thing]).await.unwrap()
    }

    /// The same hub on another data folder (and another database).
    pub fn moved(&self, data: &Path, database: Option<String>) -> Installation {
        Installation { data: data.to_owned(), database, ..self.installation.clone() }
    }
}

/// What was sent and what was acknowledged.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Thing → instant → value and whether it was acknowledged.
    samples: BTreeMap<String, BTreeMap<Micros, (f64, bool)>>,
    tasks: BTreeSet<String>,
}

impl Ledger {
    /// A new instant of this thing, later than all before.
    fn begin(&self, thing: &str, value: f64) -> Micros {
        let mut entries = self.entries.lock().unwrap();
        let samples = entries.samples.entry(thing.to_owned()).or_default();
        let last = samples.last_key_value().map_or(Micros(0), |(t, _)| *t);
        let t = store::now().max(last.plus(1));
        samples.insert(t, (value, false));
        t
    }

    fn acknowledge(&self, thing: &str, t: Micros) {
        let mut entries = self.entries.lock().unwrap();
        entries.samples.get_mut(thing).unwrap().get_mut(&t).unwrap().1 = true;
    }

    /// Sends one sample and waits for its acknowledgement; whether it came.
    pub async fn publish(&self, device: &Device, value: f64) -> bool {
        let thing = device.thing().to_owned();
        let t = self.begin(&thing, value);
        let done = device.publish("battery", json!({ "t": t, "v": value }).to_string()).await.is_ok();
        if done {
            self.acknowledge(&thing, t);
        }
        done
    }

    /// Writes some instants of a thing by line protocol; whether the hub said 204.
    pub async fn write(&self, writer: &Writer, thing: &str) -> bool {
        let instants: Vec<Micros> = (0..BODY).map(|_| self.begin(thing, HIGH)).collect();
        let body = instants.iter().map(|t| format!("bin,thing={thing} battery={HIGH} {}\n", t.0)).collect();
        let done = writer.write(body).await;
        if done {
            instants.into_iter().for_each(|t| self.acknowledge(thing, t));
        }
        done
    }

    /// How many samples and how many task changes were acknowledged.
    pub fn acknowledged(&self) -> (usize, usize) {
        let entries = self.entries.lock().unwrap();
        let samples = entries.samples.values().flat_map(BTreeMap::values).filter(|(_, acked)| *acked).count();
        (samples, entries.tasks.len())
    }

    /// Every instant that was sent for a thing, acknowledged or not.
    pub fn sent(&self, thing: &str) -> Vec<Micros> {
        self.entries.lock().unwrap().samples[thing].keys().copied().collect()
    }

    /// A copy of what is acknowledged by now.
    pub fn so_far(&self) -> Self {
        let entries = self.entries.lock().unwrap();
        let copy = Entries { samples: entries.samples.clone(), tasks: entries.tasks.clone() };
        Self { entries: Mutex::new(copy) }
    }
}

/// Another system that writes by line protocol, over one connection.
#[derive(Clone)]
pub struct Writer {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Writer {
    pub fn new(site: &Site, running: &Running) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/v2/write?precision=us", running.url);
        Self { http, url, token: format!("Token {}", site.token) }
    }

    /// Whether the hub said 204: it has all of it.
    pub async fn write(&self, body: String) -> bool {
        let request = self.http.post(&self.url).header("authorization", &self.token).body(body);
        match request.send().await {
            Ok(answer) if answer.status() == 204 => true,
            // It stops or its store does not answer; anything else is a defect of the test.
            Ok(answer) => {
                let status = answer.status();
                assert!(status.is_server_error(), "{status}: {:?}", answer.text().await);
                false
            }
            Err(_) => false,
        }
    }
}

/// Devices, another system and a person at work; they end when this is dropped.
pub struct Load {
    _tasks: JoinSet<()>,
}

impl Load {
    pub async fn start(site: &Site, running: &Running, ledger: &Arc<Ledger>) -> Self {
        let mut tasks = JoinSet::new();
        for number in 1..=WITNESSES + FLOODERS {
            let device = Arc::new(site.device(running, &format!("bin-{number}")).await);
            let ledger = ledger.clone();
            if number <= WITNESSES {
                tasks.spawn(async move {
                    // A high value first: whatever the round before left, a low one opens now.
                    for value in [HIGH, HIGH, LOW, HIGH].into_iter().cycle() {
                        if !ledger.publish(&device, value).await {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
                continue;
            }
            for _ in 0..LANES {
                let (device, ledger) = (device.clone(), ledger.clone());
                tasks.spawn(async move {
                    for _ in 0..PER_ROUND / LANES {
                        if !ledger.publish(&device, HIGH).await {
                            return;
                        }
                    }
                });
            }
        }
        for number in 1..=WRITTEN {
            let thing = format!("bin-{}", WITNESSES + FLOODERS + number);
            let (writer, ledger) = (Writer::new(site, running), ledger.clone());
            tasks.spawn(async move {
                for _ in 0..PER_ROUND / BODY {
                    if !ledger.write(&writer, &thing).await {
                        return;
                    }
                }
            });
        }
        let (cleaner, ledger) = (site.cleaner(running).await, ledger.clone());
        tasks.spawn(async move {
            loop {
                let Ok(page) = cleaner.get("/api/v1/tasks?mine=true&state=open&limit=50").await else {
                    return;
                };
                for task in page["items"].as_array().unwrap() {
                    let id = task["id"].as_str().unwrap();
                    let path = format!("/api/v1/tasks/{id}/complete");
                    let body = json!({ "values": { "outcome": "changed" } });
                    let Ok((status, _)) = cleaner.call("POST", &path, Some(body)).await else { return };
                    if status.is_success() {
                        ledger.entries.lock().unwrap().tasks.insert(id.to_owned());
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { _tasks: tasks }
    }
}

/// What a hub has of what it acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged samples that are not there.
    pub samples: usize,
    /// Acknowledged task changes that are not there.
    pub tasks: usize,
    /// Acknowledged low samples of witnesses that opened no alert.
    pub alerts: usize,
    /// Whatever is there twice or was never sent.
    pub wrong: Vec<String>,
}

/// Compares the hub with the ledger.
pub async fn audit(ledger: &Ledger, cleaner: &Client) -> Findings {
    let (sent, tasks) = {
        let entries = ledger.entries.lock().unwrap();
        (entries.samples.clone(), entries.tasks.clone())
    };
    let mut findings = Findings::default();
    for (thing, samples) in &sent {
        let stored = stored(cleaner, thing).await;
        for pair in stored.windows(2).filter(|pair| pair[0].0 >= pair[1].0) {
            findings.wrong.push(format!("{thing}: {:?} is there twice", pair[1].0));
        }
        let stored: BTreeMap<Micros, f64> = stored.into_iter().collect();
        for (t, (value, acknowledged)) in samples {
            match stored.get(t) {
                Some(found) if found == value => {}
                Some(found) => findings.wrong.push(format!("{thing}: {t:?} is {found}, sent was {value}")),
                None => findings.samples += usize::from(*acknowledged),
            }
        }
        for t in stored.keys().filter(|t| !samples.contains_key(t)) {
            findings.wrong.push(format!("{thing}: {t:?} was never sent"));
        }
    }
    for id in &tasks {
        let state = cleaner.get(&format!("/api/v1/tasks/{id}")).await.map(|task| task["state"].clone());
        findings.tasks += usize::from(!state.is_ok_and(|s| s == "completed"));
    }
    let mut opened: BTreeMap<String, Vec<(Micros, Option<Micros>)>> = BTreeMap::new();
    for alert in all(cleaner, "/api/v1/alerts").await {
        let thing = alert["thing"].as_str().unwrap().to_owned();
        opened.entry(thing).or_default().push((at(&alert["opened_at"]).unwrap(), at(&alert["resolved_at"])));
    }
    for (thing, alerts) in &mut opened {
        alerts.sort();
        for pair in alerts.windows(2) {
            if pair[0].1.is_none_or(|resolved| resolved > pair[1].0) {
                findings
                    .wrong
                    .push(format!("{thing}: an alert opened twice, at {:?} and {:?}", pair[0].0, pair[1].0));
            }
        }
        let lows = &sent[thing];
        for (t, _) in alerts.iter().filter(|(t, _)| lows.get(t).is_none_or(|(value, _)| *value != LOW)) {
            findings.wrong.push(format!("{thing}: the alert at {t:?} has no low sample"));
        }
    }
    for (thing, samples) in sent {
        let opened: BTreeSet<Micros> = opened.get(&thing).into_iter().flatten().map(|(t, _)| *t).collect();
        let lows = samples.iter().filter(|(_, (value, acknowledged))| *value == LOW && *acknowledged);
        findings.alerts += lows.filter(|(t, _)| !opened.contains(t)).count();
    }
    findings
}

/// [`audit`] until nothing is missing, or for as long as tests wait: judging follows the commit.
pub async fn audit_settled(ledger: &Ledger, cleaner: &Client) -> Findings {
    let deadline = tokio::time::Instant::now() + BOUND;
    loop {
        let findings = audit(ledger, cleaner).await;
        let settled = findings.alerts == 0 || findings.samples > 0;
        if settled || tokio::time::Instant::now() > deadline {
            return findings;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Times and values of a bin, as the hub gives them.
pub async fn stored(cleaner: &Client, thing: &str) -> Vec<(Micros, f64)> {
    let shown = cleaner.get(&format!("/api/v1/things/{thing}")).await.unwrap();
    let curve = format!("/api/v1/datastreams/{}/observations?limit=20000", shown["datastreams"][0]["key"]);
    let curve = cleaner.get(&curve).await.unwrap();
    let points = curve["points"].as_array().unwrap();
    points.iter().map(|p| (at(&p[0]).unwrap(), p[1].as_f64().unwrap())).collect()
}

fn at(value: &Value) -> Option<Micros> {
    Some(Micros::parse(value.as_str()?).unwrap())
}

/// Every page of a list.
pub async fn all(cleaner: &Client, list: &str) -> Vec<Value> {
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = cleaner.get(&format!("{list}?limit=500{after}")).await.unwrap();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return items };
        after = format!("&after={next}");
    }
}

/// Stores `count` samples of the `old-…` bins, spread over the last hours, as a busy day leaves
/// them, through the door for line protocol; returns when they have been judged too.
pub async fn preload(site: &Site, old: usize, count: usize) {
    const LINES: usize = 500;
    let hub = site.installation.serve().await.unwrap();
    let step = 6 * Micros::HOUR / (count as i64);
    let start = store::now().plus(-6 * Micros::HOUR);
    let mut writers = JoinSet::new();
    for lane in 0..4 {
        let writer = Writer::new(site, &hub);
        writers.spawn(async move {
            for body in (lane..count / LINES).step_by(4) {
                let lines = (body * LINES..(body + 1) * LINES).map(|n| {
                    format!(
                        "bin,thing=old-{} battery={HIGH} {}\n",
                        n % old + 1,
                        start.plus(n as i64 * step).0
                    )
                });
                assert!(writer.write(lines.collect()).await);
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    assert!(hub.stop().await.unwrap());
}
