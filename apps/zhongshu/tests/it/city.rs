//! The city that these tests begin with, and a few steps they share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use citysim::client::Device;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::testing::TestDatabase;
use testkit::{Client, Setup, TestHub};

pub const BOUND: Duration = Duration::from_secs(20);

/// The demo's city as the simulator writes it, without the rest of Chongqing; the secrets.
pub fn demo_city(folder: &Path) -> (PathBuf, Vec<(String, String)>) {
    let city = folder.join("city");
    let secrets = folder.join("secrets.csv");
    citysim::city::write(&city, None, Some(&secrets)).unwrap();
    let secrets = citysim::city::read_secrets(&secrets).unwrap();
    (city, secrets.into_iter().collect())
}

pub fn fire_pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packs/fire")
}

pub fn bins_pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packs/bins")
}

/// The estate with one account a level and a colleague in the property company.
pub struct Estate {
    pub hub: TestHub,
    pub passwords: Vec<(String, String)>,
    pub secrets: Vec<(String, String)>,
    _folder: tempfile::TempDir,
}

impl Estate {
    pub async fn start(database: TestDatabase, process_speed: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (city, secrets) = demo_city(folder.path());
        let setup = Setup {
            packs: vec![fire_pack(), bins_pack()],
            city: Some(city),
            process_speed,
            ..Setup::default()
        }
        .account("district", "district-officer@500112", Some("district-duty@500112"))
        .account("street", "street-officer@500112011", Some("street-duty@500112011"))
        .account("community", "community-officer@500112011014", Some("community-duty@500112011014"))
        .account("property", "property-manager@jz", Some("property-duty@jz"))
        .account("property2", "property-manager@jz", Some("property-duty@jz"))
        .account("resident", "resident@jz-03", None)
        .account("neighbour", "property-manager@jz-07", None)
        .account("elsewhere", "district-officer@jz-07", None)
        .account("elsewhere-system", "system-administrator@jz-07", None)
        .account("elsewhere-security", "security-administrator@jz-07", None)
        .account("system", "system-administrator@500112", None)
        .account("security", "security-administrator@500112", None)
        .account("guest", "guest@jz", None);
        let (hub, passwords) = TestHub::start(database, setup).await.unwrap();
        Self { hub, passwords, secrets, _folder: folder }
    }

    pub async fn client(&self, login: &str) -> Client {
        let (_, password) = self.passwords.iter().find(|(l, _)| l == login).unwrap();
        self.hub.log_in(login, password).await.unwrap()
    }

    pub async fn device(&self, thing: &str) -> Device {
        device(&self.hub, &self.secrets, thing).await
    }

    /// Two hydrants of one riser of building 3.
    pub fn riser(&self) -> [&'static str; 2] {
        ["jz-h-0081", "jz-h-0082"]
    }
}

pub async fn device(hub: &TestHub, secrets: &[(String, String)], thing: &str) -> Device {
    let (_, secret) = secrets.iter().find(|(t, _)| t == thing).unwrap();
    Device::connect(hub.mqtt().unwrap(), thing, secret).await.unwrap()
}

/// Publishes values one after the other, each acknowledged; times are now and a moment apart.
pub async fn publish(device: &Device, datastream: &str, values: &[f64]) {
    for value in values {
        let t = store::now();
        device.publish(datastream, json!({ "t": t, "v": value }).to_string()).await.unwrap();
        // The next sample's time must be later.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks again and again until `good` finds what it looks for.
pub async fn until<T>(client: &Client, path: &str, mut good: impl FnMut(&Value) -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + BOUND;
    loop {
        let page = client.get(path).await.unwrap();
        if let Some(found) = good(&page) {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "GET {path} never showed it: {page:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The open task of this element that the client may complete.
pub async fn task(client: &Client, element: &str) -> Value {
    until(client, "/api/v1/tasks?mine=true&state=open", |page| {
        page["items"].as_array().unwrap().iter().find(|t| t["element"] == element).cloned()
    })
    .await
}

pub async fn complete(client: &Client, task: &Value, values: Value) -> (u16, Value) {
    let path = format!("/api/v1/tasks/{}/complete", task["id"].as_str().unwrap());
    let (status, answer) = client.call("POST", &path, Some(json!({ "values": values }))).await.unwrap();
    (status.as_u16(), answer)
}

/// The smallest PNG that is one: a header and an end.
pub fn photo() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = u32::MAX;
        for byte in kind.iter().chain(data) {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        [&(data.len() as u32).to_be_bytes(), kind.as_slice(), data, &(!crc).to_be_bytes()].concat()
    };
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &[0; 13]), &chunk(b"IEND", &[])].concat()
}

/// A folder with the smallest city: one estate, one bin, one post, and the bin's secret.
pub fn bin_city(folder: &Path) -> Vec<(String, String)> {
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    write(
        "areas.csv",
        "code,level,parent,name_zh,name_en\n50,city,,重庆市,Chongqing\n500112,district,50,渝北区,Yubei\npark,estate,500112,公园,Park\n",
    );
    write("posts.csv", "code,name_zh,name_en,level\ncleaning,保洁岗,Cleaning,estate\n");
    write(
        "things.csv",
        "code,type,area,name_zh,name_en,place_zh,place_en,lon,lat,public,properties\n\
         bin-1,litter-bin,park,1 号桶,Bin 1,公园东门,East gate,106.5,29.6,false,{}\n",
    );
    let secret = "ab".repeat(32);
    let hash = hex(&Sha256::digest(secret.as_bytes()));
    write("credentials.csv", &format!("thing,secret_sha256\nbin-1,{hash}\n"));
    vec![("bin-1".into(), secret)]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
