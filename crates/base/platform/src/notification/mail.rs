//! E-mail by SMTP (RFC 5321), encrypted unless the server is on this machine.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use url::Url;

use super::carrier::{Carrier, Parcel, SendError};
use super::signed::is_loopback;
use super::{MailConfig, SetupError};

/// How long a command to the server may take.
const BOUND: Duration = Duration::from_secs(15);

/// Sends e-mail.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mail {
    pub(super) fn new(config: &MailConfig) -> Result<Self, SetupError> {
        // The URL holds a password: what is wrong with it is told without it.
        let url = Url::parse(config.url.expose())
            .map_err(|e| SetupError(format!("the mail server's address does not read: {e}")))?;
        let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let encrypted = url.scheme() == "smtps" || tls.as_deref() == Some("required");
        if !encrypted && !is_loopback(&url) {
            return Err(SetupError(
                "the mail server's address must be smtps://…, or smtp://…?tls=required; \
                 without encryption only on this machine"
                    .into(),
            ));
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(config.url.expose())
            .map_err(|e| SetupError(format!("the mail server's address does not serve: {e}")))?
            .timeout(Some(BOUND))
            .build();
        let from = config
            .from
            .parse()
            .map_err(|e| SetupError(format!("the sender {:?} of mails does not read: {e}", config.from)))?;
        Ok(Self { transport, from })
    }

    fn message(&self, parcel: &Parcel) -> Result<Message, SendError> {
        let address: Address = parcel
            .address
            .parse()
            .map_err(|e| SendError::last(format!("{:?} is not an e-mail address: {e}", parcel.address)))?;
        let mut text = format!("{}\n\n{}\n", parcel.title.zh, parcel.body.zh);
        if let Some(link) = &parcel.link {
            text.push_str(&format!("\n{link}\n"));
        }
        text.push_str(&format!("\n--\n\n{}\n\n{}\n", parcel.title.en, parcel.body.en));
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(parcel.recipient.clone()), address))
            .subject(parcel.title.zh.replace(['\r', '\n'], " "))
            // The same at every try: mail servers tell a repeat by it (RFC 5322 §3.6.4).
            .message_id(Some(format!("<{}@{}>", parcel.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|e| SendError::last(format!("the mail cannot be written: {e}")))
    }
}

#[async_trait]
impl Carrier for Mail {
    async fn send(&self, parcel: &Parcel) -> Result<Option<String>, SendError> {
        let message = self.message(parcel)?;
        match self.transport.send(message).await {
            Ok(answer) => Ok(answer.first_line().map(|line| line.chars().take(100).collect())),
            Err(e) if e.is_permanent() => Err(SendError::last(format!("the mail server refuses it: {e}"))),
            Err(e) => Err(SendError::retry(format!("the mail server did not take it: {e}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Secret;

    #[test]
    fn mail_goes_encrypted_or_stays_on_this_machine() {
        for (url, good) in [
            ("smtp://127.0.0.1:2525", true),
            ("smtp://localhost:2525", true),
            ("smtp://mail.example.org:25", false),
            ("smtp://mail.example.org:587?tls=opportunistic", false),
            ("imap://mail.example.org", false),
            ("nonsense", false),
        ] {
            let config = MailConfig { url: Secret::new(url), from: "中枢 <hub@example.org>".into() };
            assert_eq!(Mail::new(&config).is_ok(), good, "{url}");
        }
        let config = MailConfig { url: Secret::new("smtp://127.0.0.1"), from: "nobody".into() };
        assert!(Mail::new(&config).is_err());
    }
}
