//! The enabling platform (综合赋能平台): what every centre and scenario shares.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`area`] | the area tree, in memory and by table; features for the map |
//! | [`person`] | people, accounts, roles and grants |
//! | [`duty`] | posts (岗位) and who holds them now |
//! | [`session`] | logging in and staying so |
//! | [`token`] | tokens of integrators (集成方) |
//! | [`file`] | photos: checked, stripped of where they were taken, on disk before referred to |
//! | [`notice`] | what residents are told |
//! | [`notification`] | messages to people and systems, by which channel, and whether they arrived |
//! | [`message`] | the texts of notices, declared by packs |
//! | [`pack`] | a pack as files, read from a folder or from the database |
//! | [`import`] | areas, organisations, posts and features from files |
//! | [`http`] | the edge: access of routes, callers, problems, and the platform's own routes |

pub mod area;
pub mod duty;
pub mod file;
pub mod http;
pub mod import;
pub mod message;
pub mod notice;
pub mod notification;
pub mod pack;
pub mod person;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;

use std::path::PathBuf;
use std::sync::Arc;

use model::Text;
use store::{Store, StoreError};

pub use area::{AreaRef, Areas};
pub use file::FileRef;
pub use message::Messages;
pub use pack::{PackError, PackFiles};

/// How the platform is set up.
#[derive(Clone, Debug)]
pub struct PlatformConfig {
    /// Where files lie.
    pub files: PathBuf,
    /// Cookies only over TLS.
    pub secure_cookies: bool,
}

/// The platform: one value that every room is given.
pub struct Platform {
    store: Store,
    areas: Areas,
    posts: std::collections::HashMap<String, duty::Post>,
    messages: Messages,
    files: file::Files,
    sessions: session::Sessions,
    tokens: token::Tokens,
    notifications: Arc<notification::Notifications>,
}

impl Platform {
    /// Loads what is kept in memory: the area tree, posts and the messages of the packs. People
    /// are told in the pages only; [`Platform::open_with`] is told of other channels.
    ///
    /// # Errors
    /// [`StoreError`]; a pack whose messages do not read is [`StoreError::Document`].
    pub async fn open(
        store: Store,
        packs: &[PackFiles],
        config: PlatformConfig,
    ) -> Result<Arc<Self>, StoreError> {
        let notification = notification::NotificationConfig::default();
        let notifications = notification::Notifications::new(store.clone(), notification)
            .map_err(|e| StoreError::Setup(e.to_string()))?;
        Self::open_with(store, packs, config, notifications).await
    }

    /// The same with these ways of telling people.
    ///
    /// # Errors
    /// As [`Platform::open`].
    pub async fn open_with(
        store: Store,
        packs: &[PackFiles],
        config: PlatformConfig,
        notifications: notification::Notifications,
    ) -> Result<Arc<Self>, StoreError> {
        let areas = Areas::load(&store).await?;
        let posts = duty::posts(&store).await?.into_iter().map(|p| (p.code.clone(), p)).collect();
        let messages = Messages::of(packs).map_err(|e| {
            let lines: Vec<String> = e.iter().map(ToString::to_string).collect();
            StoreError::Document(lines.join("; "))
        })?;
        let files = file::Files::open(&config.files).map_err(|e| {
            StoreError::Setup(format!("cannot use the folder {}: {e}", config.files.display()))
        })?;
        let sessions = session::Sessions::new(config.secure_cookies);
        let tokens = token::Tokens::load(&store).await?;
        let notifications = Arc::new(notifications);
        Ok(Arc::new(Self { store, areas, posts, messages, files, sessions, tokens, notifications }))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The area tree.
    #[must_use]
    pub fn areas(&self) -> &Areas {
        &self.areas
    }

    /// The texts of notices.
    #[must_use]
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &file::Files {
        &self.files
    }

    /// Telling people and systems.
    #[must_use]
    pub fn notifications(&self) -> &Arc<notification::Notifications> {
        &self.notifications
    }

    /// Logging in and staying so.
    #[must_use]
    pub fn sessions(&self) -> &session::Sessions {
        &self.sessions
    }

    /// What a post is called; its code when it is unknown.
    #[must_use]
    pub fn post_title(&self, post: &str) -> Text {
        self.posts.get(post).map_or_else(|| Text::new(post, post), |p| p.name.clone())
    }

    /// The level at which a post stands; the estate's for an unknown one.
    #[must_use]
    pub fn post_level(&self, post: &str) -> model::AreaLevel {
        self.posts.get(post).map_or(model::AreaLevel::Estate, |p| p.level)
    }
}
