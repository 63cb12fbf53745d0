//! The channels (渠道) by which a message goes, and what each is addressed by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The hub's own pages.
    InPage,
    /// WeCom (企业微信), by the gateway.
    Wecom,
    /// A short message, by the gateway.
    Sms,
    /// A call that reads the message out, by the gateway.
    Voice,
    /// E-mail.
    Email,
    /// Another system, by HTTPS.
    Webhook,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::InPage, Self::Wecom, Self::Sms, Self::Voice, Self::Email, Self::Webhook];
    /// The outside channels to people, in the order of the default.
    pub const TO_PEOPLE: [Self; 4] = [Self::Wecom, Self::Sms, Self::Voice, Self::Email];
    /// Those that the gateway takes.
    pub const BY_GATEWAY: [Self; 3] = [Self::Wecom, Self::Sms, Self::Voice];

    /// `in-page`, `wecom`, `sms`, `voice`, `email`, `webhook`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InPage => "in-page",
            Self::Wecom => "wecom",
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }

    /// Reads what [`Channel::as_str`] writes.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }

    /// Reads an order of outside channels to people: `wecom sms voice email`.
    ///
    /// # Errors
    /// The word that is none of them, or stands twice.
    pub fn order(text: &str) -> Result<Vec<Self>, String> {
        let mut order = Vec::new();
        for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
            let channel = Self::from_name(word).filter(|c| Self::TO_PEOPLE.contains(c)).ok_or_else(|| {
                format!("no channel {word:?} to people; known are wecom, sms, voice, email")
            })?;
            if order.contains(&channel) {
                return Err(format!("{word:?} stands twice"));
            }
            order.push(channel);
        }
        Ok(order)
    }
}

/// An address as lists show it: enough to tell two apart, too little to call.
#[must_use]
pub fn masked(channel: Channel, address: &str) -> String {
    let head = |text: &str, n: usize| text.chars().take(n).collect::<String>();
    match channel {
        Channel::InPage => String::new(),
        Channel::Sms | Channel::Voice => {
            let digits: Vec<char> = address.chars().collect();
            if digits.len() < 8 {
                return "****".into();
            }
            let tail: String = digits[digits.len() - 4..].iter().collect();
            format!("{}****{tail}", digits[..digits.len() - 8].iter().collect::<String>())
        }
        Channel::Wecom => format!("{}***", head(address, 2)),
        Channel::Email => {
            let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
            format!("{}***@{domain}", head(local, 1))
        }
        // A path may hold a secret of the system's.
        Channel::Webhook => url::Url::parse(address)
            .ok()
            .and_then(|u| Some(format!("{}://{}/…", u.scheme(), u.host_str()?)))
            .unwrap_or_else(|| "…".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_masked() {
        for (channel, address, shown) in [
            (Channel::Sms, "13812345678", "138****5678"),
            (Channel::Voice, "+8613812345678", "+86138****5678"),
            (Channel::Sms, "119", "****"),
            (Channel::Wecom, "wangqiang", "wa***"),
            (Channel::Email, "wang.qiang@example.org", "w***@example.org"),
            (Channel::Webhook, "https://hooks.example.org/in?key=1", "https://hooks.example.org/…"),
            (Channel::InPage, "", ""),
        ] {
            assert_eq!(masked(channel, address), shown);
        }
    }

    #[test]
    fn an_order_names_each_channel_once() {
        assert_eq!(Channel::order("sms, email").unwrap(), [Channel::Sms, Channel::Email]);
        assert_eq!(Channel::order("").unwrap(), []);
        for wrong in ["sms sms", "fax", "webhook", "in-page"] {
            assert!(Channel::order(wrong).is_err(), "{wrong}");
        }
    }
}
