//! Things and their datastreams, in memory.

use std::collections::HashMap;
use std::sync::Arc;

use model::observation::Device;
use model::{AreaPath, DatastreamKey, Id, Text};
use serde_json::{Map, Value};
use store::{Store, StoreError, args};

use crate::declare::{DatastreamType, Declarations, ThingType};

store::statements! {
    THINGS = "SELECT code, id, type, area, name_zh, name_en, place_zh, place_en, lon, lat, public, properties
        FROM things ORDER BY code";
    DATASTREAMS = "SELECT key, thing, code FROM datastreams ORDER BY thing, key";
    CREDENTIALS = "SELECT thing, secret_sha256 FROM credentials";
}

/// A thing (SensorThings' Thing with its Location).
#[derive(Clone, Debug)]
pub struct Thing {
    /// Names it for ever.
    pub id: Id,
    /// Its code: what stands on the label, and the user name of its connection.
    pub code: String,
    /// Its type.
    pub kind: Arc<ThingType>,
    /// Where it is in the area tree.
    pub area: AreaPath,
    /// What it is called.
    pub name: Text,
    /// Where it is, in words.
    pub place: Text,
    /// Longitude and latitude, WGS-84.
    pub location: Option<[f64; 2]>,
    /// Whether residents of the estate may know of it.
    pub public: bool,
    /// Facts that rules and bindings use: the main it hangs on, indoors or outdoors.
    pub properties: Map<String, Value>,
    /// Its datastreams: key, and place in the type's list.
    pub datastreams: Vec<(DatastreamKey, usize)>,
}

impl Thing {
    /// A property that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name).and_then(Value::as_str)
    }
}

#[derive(sqlx::FromRow)]
struct ThingRow {
    code: String,
    id: Id,
    r#type: String,
    area: String,
    name_zh: String,
    name_en: String,
    place_zh: String,
    place_en: String,
    lon: Option<f64>,
    lat: Option<f64>,
    public: i64,
    properties: String,
}

/// Every thing of the city.
#[derive(Debug, Default)]
pub struct Registry {
    /// Sorted by code.
    things: Vec<Thing>,
    by_code: HashMap<String, usize>,
    /// By datastream key: thing, and place in its list.
    by_key: Vec<Option<(usize, usize)>>,
    /// By the thing's place.
    devices: Vec<Arc<Device>>,
    secrets: HashMap<String, (Vec<u8>, Arc<Device>)>,
}

impl Registry {
    pub(crate) async fn load(store: &Store, declared: &Declarations) -> Result<Self, StoreError> {
        let mut registry = Self::default();
        let rows: Vec<ThingRow> = store.read().all(THINGS, args![]).await?;
        let mut left_out = 0u64;
        for row in rows {
            let Some(kind) = declared.types.get(&row.r#type) else {
                left_out += 1;
                continue;
            };
            let area = AreaPath::parse(&row.area).map_err(|e| StoreError::Document(e.to_string()))?;
            registry.by_code.insert(row.code.clone(), registry.things.len());
            registry.things.push(Thing {
                id: row.id,
                code: row.code,
                kind: kind.clone(),
                area,
                name: Text::new(row.name_zh, row.name_en),
                place: Text::new(row.place_zh, row.place_en),
                location: row.lon.zip(row.lat).map(|(lon, lat)| [lon, lat]),
                public: row.public != 0,
                properties: serde_json::from_str(&row.properties)?,
                datastreams: Vec::new(),
            });
        }
        if left_out > 0 {
            tracing::warn!(left_out, "things of types that no installed pack declares are left out");
        }
        let rows: Vec<(i64, String, String)> = store.read().all(DATASTREAMS, args![]).await?;
        for (key, thing, code) in rows {
            let Some(at) = registry.by_code.get(&thing).copied() else { continue };
            let thing = &mut registry.things[at];
            let Some(place) = thing.kind.datastreams.iter().position(|s| s.code == code) else { continue };
            let (Ok(key), Ok(slot)) = (i32::try_from(key), usize::try_from(key)) else {
                return Err(StoreError::Document(format!(
                    "the datastream key {key} of {} is out of range",
                    thing.code
                )));
            };
            if registry.by_key.len() <= slot {
                registry.by_key.resize(slot + 1, None);
            }
            registry.by_key[slot] = Some((at, thing.datastreams.len()));
            thing.datastreams.push((DatastreamKey(key), place));
        }
        let devices = registry.things.iter().map(|thing| {
            let code = |at: &usize| thing.kind.datastreams[*at].code.clone();
            let datastreams = thing.datastreams.iter().map(|(key, at)| (code(at), *key)).collect();
            Arc::new(Device { thing: thing.code.clone(), area: thing.area.clone(), datastreams })
        });
        registry.devices = devices.collect();
        let rows: Vec<(String, Vec<u8>)> = store.read().all(CREDENTIALS, args![]).await?;
        for (code, secret) in rows {
            let Some(device) = registry.device(&code).cloned() else { continue };
            registry.secrets.insert(code, (secret, device));
        }
        Ok(registry)
    }

    /// All things, by code.
    #[must_use]
    pub fn things(&self) -> &[Thing] {
        &self.things
    }

    /// The thing with this code.
    #[must_use]
    pub fn by_code(&self, code: &str) -> Option<&Thing> {
        self.by_code.get(code).map(|at| &self.things[*at])
    }

    /// The place of the thing with this code in [`Registry::things`].
    #[must_use]
    pub fn position(&self, code: &str) -> Option<usize> {
        self.by_code.get(code).copied()
    }

    /// What the doors know of the thing with this code.
    #[must_use]
    pub fn device(&self, code: &str) -> Option<&Arc<Device>> {
        self.by_code.get(code).and_then(|at| self.devices.get(*at))
    }

    /// The thing that a datastream belongs to, with the thing's place in [`Registry::things`],
    /// and the datastream's type.
    #[must_use]
    pub fn by_key(&self, key: DatastreamKey) -> Option<(usize, &Thing, &DatastreamType)> {
        let (at, n) = usize::try_from(key.0).ok().and_then(|k| self.by_key.get(k).copied().flatten())?;
        let thing = &self.things[at];
        Some((at, thing, &thing.kind.datastreams[thing.datastreams[n].1]))
    }

    /// The greatest datastream key.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// The SHA-256 of a device's secret, and the device.
    pub(crate) fn secret(&self, thing: &str) -> Option<&(Vec<u8>, Arc<Device>)> {
        self.secrets.get(thing)
    }
}
