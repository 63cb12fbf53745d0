//! The enabling platform (综合赋能平台): what every centre and scenario shares.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`account`] | accounts over their life: invited, changed, reset, disabled, listed |
//! | [`area`] | the area tree, in memory and by table; features for the map |
//! | [`person`] | people, accounts, roles and grants |
//! | [`audit`] | what was done: search, and anchors outside the database |
//! | [`cipher`] | secrets at rest, under keys outside the database |
//! | [`duty`] | posts (岗位) and who holds them now |
//! | [`grant`] | grants and duties given and ended |
//! | [`personal`] | phone and ID numbers: encrypted, masked, revealed with a reason |
//! | [`role`] | the three separated roles (三员) |
//! | [`login`] | logging in |
//! | [`second_factor`], [`totp`] | one-time codes |
//! | [`session`] | staying logged in, and ending it |
//! | [`token`] | tokens of integrators (集成方) |
//! | [`file`] | photos: checked, stripped of where they were taken, on disk before referred to |
//! | [`notice`] | what residents are told |
//! | [`notification`] | messages to people and systems, by which channel, and whether they arrived |
//! | [`message`] | the texts of notices, declared by packs |
//! | [`pack`] | a pack as files, read from a folder or from the database |
//! | [`import`] | areas, organisations, posts and features from files |
//! | [`http`] | the edge: access of routes, callers, problems, and the platform's own routes |

pub mod account;
pub mod area;
pub mod audit;
pub mod cipher;
pub mod duty;
pub mod file;
pub mod grant;
pub mod http;
pub mod import;
pub mod login;
pub mod message;
pub mod notice;
pub mod notification;
pub mod pack;
pub mod person;
pub mod personal;
pub mod role;
pub mod second_factor;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod totp;

use std::path::PathBuf;
use std::sync::Arc;

use model::Text;
use store::{Store, StoreError};

pub use area::{AreaRef, Areas};
pub use file::FileRef;
pub use message::Messages;
pub use pack::{PackError, PackFiles};
pub use second_factor::SecondFactor;

/// How the platform is set up.
#[derive(Clone, Debug, Default)]
pub struct PlatformConfig {
    /// Where files lie.
    pub files: PathBuf,
    /// Cookies only over TLS.
    pub secure_cookies: bool,
    /// The folder of the keys that secrets are encrypted under; without one they are encrypted
    /// under a key that ends with the process.
    pub keys: Option<PathBuf>,
    /// Who must have a second factor.
    pub second_factor: SecondFactor,
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
    keys: cipher::Keyring,
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
        let keys = match &config.keys {
            Some(folder) => cipher::Keyring::open(folder),
            None => cipher::Keyring::random(),
        };
        let keys = keys.map_err(|e| StoreError::Setup(format!("cannot {e}")))?;
        role::put_built_in(&store).await?;
        let areas = Areas::load(&store).await?;
        let posts = duty::posts(&store).await?.into_iter().map(|p| (p.code.clone(), p)).collect();
        let messages = Messages::of(packs).map_err(|e| {
            let lines: Vec<String> = e.iter().map(ToString::to_string).collect();
            StoreError::Document(lines.join("; "))
        })?;
        let files = file::Files::open(&config.files).map_err(|e| {
            StoreError::Setup(format!("cannot use the folder {}: {e}", config.files.display()))
        })?;
        let sessions = session::Sessions::new(config.secure_cookies, config.second_factor);
        let tokens = token::Tokens::load(&store).await?;
        let notifications = Arc::new(notifications);
        let platform = Self { store, areas, posts, messages, files, sessions, tokens, notifications, keys };
        platform.check_keys().await?;
        platform.check_personal_keys().await?;
        Ok(Arc::new(platform))
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

    /// The posts, by code.
    #[must_use]
    pub fn posts(&self) -> Vec<duty::Post> {
        let mut posts: Vec<duty::Post> = self.posts.values().cloned().collect();
        posts.sort_by(|a, b| a.code.cmp(&b.code));
        posts
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
