//! Where the tables lie, and a local folder that keeps what it was given.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;

use crate::LakeError;

/// Where the tables of observations lie: a folder that holds `observations` and
/// `observations_by_step`.
#[derive(Clone, Debug)]
pub enum LakeLocation {
    /// A folder of this machine; made if absent. What is written is synced before it counts.
    Folder(PathBuf),
    /// A prefix in an object store: `s3://bucket/prefix`, with the store's options (`endpoint`,
    /// `region`, `access_key_id`, …).
    Url {
        /// The prefix.
        url: Url,
        /// Options by name.
        options: HashMap<String, String>,
    },
    /// A store that the caller brings; the tables lie at its root.
    Store(Arc<dyn ObjectStore>),
}

/// A table's address, and the store whose root the address counts from.
pub(crate) struct Place {
    pub(crate) root: Arc<dyn ObjectStore>,
    pub(crate) url: Url,
}

impl LakeLocation {
    /// The place of the table `name`.
    pub(crate) fn table(&self, name: &str) -> Result<Place, LakeError> {
        match self {
            Self::Folder(folder) => {
                let cannot = |e: std::io::Error| LakeError::Setup(format!("{}: {e}", folder.display()));
                let folder = std::path::absolute(folder.join(name)).map_err(cannot)?;
                std::fs::create_dir_all(&folder).map_err(cannot)?;
                let url = Url::from_directory_path(&folder).map_err(|()| {
                    LakeError::Setup(format!("{}: it is no path that a URL can name", folder.display()))
                })?;
                Ok(Place { root: Arc::new(Synced(LocalFileSystem::new())), url })
            }
            Self::Url { url, options } => Ok(Place { root: remote(url, options)?, url: under(url, name)? }),
            Self::Store(store) => {
                let url = Url::parse("memory:///").map_err(|e| LakeError::Setup(e.to_string()))?;
                Ok(Place { root: store.clone(), url: under(&url, name)? })
            }
        }
    }
}

fn under(url: &Url, name: &str) -> Result<Url, LakeError> {
    let text = format!("{}/{name}/", url.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|e| LakeError::Setup(format!("{text}: {e}")))
}

/// How long one request of an object store is tried again before it counts as failed. Whoever asked
/// tries again later: the log holds what is waiting.
#[cfg(feature = "s3")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

#[cfg(feature = "s3")]
fn remote(url: &Url, options: &HashMap<String, String>) -> Result<Arc<dyn ObjectStore>, LakeError> {
    use object_store::RetryConfig;
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
    let wrong = |e: &dyn fmt::Display| LakeError::Setup(format!("the lake at {url}: {e}"));
    let retry = RetryConfig { max_retries: 5, retry_timeout: PATIENCE, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
    for (name, value) in options {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(|e| wrong(&e))?;
        builder = builder.with_config(key, value);
    }
    let store = builder.build().map_err(|e| wrong(&e))?;
    let scheme = Url::parse(&format!("{}://", url.scheme())).map_err(|e| wrong(&e))?;
    deltalake_core::logstore::logstore_factories().insert(scheme, Arc::new(ConditionalPuts));
    Ok(Arc::new(store))
}

/// The table's log in a store that creates an object only where there is none (`If-None-Match`),
/// which is all that a commit needs: two writers cannot both make version n.
#[cfg(feature = "s3")]
struct ConditionalPuts;

#[cfg(feature = "s3")]
impl deltalake_core::logstore::LogStoreFactory for ConditionalPuts {
    fn with_options(
        &self,
        prefixed: deltalake_core::logstore::ObjectStoreRef,
        root: deltalake_core::logstore::ObjectStoreRef,
        location: &Url,
        options: &deltalake_core::logstore::StorageConfig,
    ) -> deltalake_core::DeltaResult<Arc<dyn deltalake_core::logstore::LogStore>> {
        Ok(deltalake_core::logstore::default_logstore(prefixed, root, location, options))
    }
}

#[cfg(not(feature = "s3"))]
fn remote(url: &Url, _options: &HashMap<String, String>) -> Result<Arc<dyn ObjectStore>, LakeError> {
    Err(LakeError::Setup(format!(
        "the lake at {url}: this hub was built without object stores; use a folder, or build with the feature s3"
    )))
}

/// The local file system, where a file counts as written only after it and the folders that name
/// it are on the disk. (The library's own store leaves that to the operating system; segments
/// are dropped after a commit, so that it must outlive a loss of power.)
#[derive(Debug)]
struct Synced(LocalFileSystem);

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Synced({})", self.0)
    }
}

impl Synced {
    async fn sync(&self, location: &Path) -> Result<()> {
        let file = self.0.path_to_filesystem(location)?;
        let done = tokio::task::spawn_blocking(move || sync_file(&file)).await;
        done.map_err(|source| Error::JoinError { source })?
            .map_err(|e| Error::Generic { store: "Synced", source: Box::new(e) })
    }
}

/// How many folders above a file may be new with it: day, table, lake.
const NEW_FOLDERS: usize = 3;

fn sync_file(file: &FilePath) -> std::io::Result<()> {
    std::fs::File::open(file)?.sync_all()?;
    for folder in file.ancestors().skip(1).take(NEW_FOLDERS) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[async_trait::async_trait]
impl ObjectStore for Synced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let done = self.0.put_opts(location, payload, opts).await?;
        self.sync(location).await?;
        Ok(done)
    }

    /// Only checkpoints come this way, and nothing that they repeat is deleted for a day: a
    /// checkpoint that a loss of power took is written again.
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}
