//! Process definitions with their forms: versioned in the database, held in memory.
//!
//! A pack whose file changed gives the next version; running cases keep theirs. A form belongs
//! to the version it was installed with, so that an open task is never asked for other answers
//! than those it showed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::Context;
use platform::PackFiles;
use process::Definition;
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError, args, new_id};

use crate::form::Form;

store::statements! {
    ALL = "SELECT key, version, sha256, xml, forms FROM process_definitions ORDER BY key, version";
    ADD = "INSERT INTO process_definitions (key, version, pack, sha256, xml, forms, installed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key, version) DO NOTHING";
}

/// One version of a process, ready to run.
pub(crate) struct Loaded {
    pub(crate) definition: Definition,
    pub(crate) version: i64,
    pub(crate) xml: String,
    pub(crate) forms: BTreeMap<String, Form>,
}

impl Loaded {
    /// The form of a user task.
    pub(crate) fn form_of(&self, element: &str) -> Option<(&str, &Form)> {
        let key = self.definition.user_task(element)?.form.as_deref()?;
        self.forms.get(key).map(|form| (key, form))
    }

    /// What an element is called; its id when it is unknown.
    pub(crate) fn name_of(&self, element: &str) -> model::Text {
        self.definition
            .element(element)
            .map_or_else(|| model::Text::new(element, element), |e| e.name.clone())
    }
}

/// Every version of every process.
#[derive(Default)]
pub(crate) struct Definitions {
    by_version: HashMap<(String, i64), Arc<Loaded>>,
    latest: HashMap<String, Arc<Loaded>>,
}

impl Definitions {
    pub(crate) fn get(&self, key: &str, version: i64) -> Option<&Arc<Loaded>> {
        // A HashMap of owned pairs cannot be asked with borrowed ones.
        self.by_version.get(&(key.to_owned(), version))
    }

    pub(crate) fn latest(&self, key: &str) -> Option<&Arc<Loaded>> {
        self.latest.get(key)
    }

    /// Every version loaded.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        self.by_version.values()
    }

    /// Reads what the packs declare, gives what is new its version, and loads all versions.
    pub(crate) async fn open(store: &Store, packs: &[PackFiles]) -> Result<Self, StoreError> {
        let mut rows = stored(store).await?;
        let mut current: HashMap<String, i64> = HashMap::new();
        for pack in packs {
            for (file, xml) in pack.under("processes/", ".bpmn") {
                let definitions =
                    process::read(xml).map_err(|e| StoreError::Document(format!("{file}: {e}")))?;
                let forms: BTreeMap<&str, &str> = pack.under("forms/", ".schema.json").collect();
                for definition in definitions {
                    let key = definition.key().to_owned();
                    let forms = forms_of(&definition, &forms)?;
                    let mut hash = Sha256::new();
                    hash.update(xml);
                    hash.update(&forms);
                    let sha256 = hash.finalize().to_vec();
                    let same = rows.iter().find(|r| r.key == key && r.sha256 == sha256);
                    let version = match same {
                        Some(row) => row.version,
                        None => {
                            let version = 1 + rows
                                .iter()
                                .filter(|r| r.key == key)
                                .map(|r| r.version)
                                .max()
                                .unwrap_or(0);
                            let row = Row { key: key.clone(), version, sha256, xml: xml.to_owned(), forms };
                            add(store, &pack.name, row.clone()).await?;
                            rows.push(row);
                            version
                        }
                    };
                    current.insert(key, version);
                }
            }
        }
        let mut all = Self::default();
        for row in rows {
            let loaded = match load(&row) {
                Ok(loaded) => Arc::new(loaded),
                Err(reason) => {
                    // Cases of that version cannot go on; everything else can.
                    tracing::error!(
                        process = row.key,
                        version = row.version,
                        reason,
                        "a stored process does not read"
                    );
                    continue;
                }
            };
            if current.get(&row.key) == Some(&row.version) {
                all.latest.insert(row.key.clone(), loaded.clone());
            }
            all.by_version.insert((row.key, row.version), loaded);
        }
        Ok(all)
    }
}

#[derive(Clone, sqlx::FromRow)]
struct Row {
    key: String,
    version: i64,
    sha256: Vec<u8>,
    xml: String,
    forms: String,
}

async fn stored(store: &Store) -> Result<Vec<Row>, StoreError> {
    store.read().all(ALL, args![]).await
}

/// The forms a process names, as one JSON object of key and schema.
fn forms_of(definition: &Definition, files: &BTreeMap<&str, &str>) -> Result<String, StoreError> {
    let mut forms = serde_json::Map::new();
    for element in definition.user_tasks() {
        let Some(key) = definition.user_task(&element.id).and_then(|t| t.form.as_deref()) else { continue };
        let file = format!("forms/{key}.schema.json");
        let text = files
            .get(file.as_str())
            .ok_or_else(|| StoreError::Document(format!("{}: {file} is missing", definition.key())))?;
        forms.insert(key.to_owned(), serde_json::from_str(text)?);
    }
    Ok(serde_json::Value::Object(forms).to_string())
}

async fn add(store: &Store, pack: &str, row: Row) -> Result<(), StoreError> {
    let context = Context::system("work", new_id());
    store
        .command(&context, "process:install", (pack.to_owned(), row), |tx, (pack, row)| {
            Box::pin(async move {
                tx.subject("process", format!("{}/{}", row.key, row.version), None);
                tx.detail(serde_json::json!({ "pack": pack }));
                let now = tx.now;
                let values =
                    args![&row.key, row.version, pack, row.sha256.clone(), &row.xml, &row.forms, now];
                tx.execute(ADD, values).await?;
                Ok::<(), StoreError>(())
            })
        })
        .await
}

fn load(row: &Row) -> Result<Loaded, String> {
    let definitions = process::read(&row.xml).map_err(|e| e.to_string())?;
    let definition =
        definitions.into_iter().find(|d| d.key() == row.key).ok_or("the file has no such process")?;
    let schemas: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&row.forms).map_err(|e| e.to_string())?;
    let forms = schemas
        .into_iter()
        .map(|(key, schema)| Form::compile(schema).map(|form| (key, form)))
        .collect::<Result<_, String>>()?;
    Ok(Loaded { definition, version: row.version, xml: row.xml.clone(), forms })
}
