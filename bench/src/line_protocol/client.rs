//! One keep-alive connection that waits for the answer to each body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest head of an answer.
const HEAD_CAP: usize = 16 * 1024;

/// Where bodies go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// Path and query.
    pub path: String,
    /// Its token, if it wants one.
    pub token: Option<String>,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// The head of a request up to the length of its body.
    head: Vec<u8>,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(target: &Target) -> Result<Self> {
        let Target { address, path, token } = target;
        let stream =
            TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let authorisation =
            token.as_ref().map(|t| format!("Authorization: Token {t}\r\n")).unwrap_or_default();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorisation}\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: "
        );
        Ok(Self { stream, head: head.into_bytes(), request: Vec::new(), reply: Vec::new() })
    }

    /// Sends a body, and returns once it is acknowledged.
    pub fn write(&mut self, body: &[u8]) -> Result<()> {
        self.request.clear();
        self.request.extend_from_slice(&self.head);
        write!(self.request, "{}\r\n\r\n", body.len())?;
        self.stream.write_all(&self.request).context("the connection broke")?;
        self.stream.write_all(body).context("the connection broke")?;
        let (status, answer) = self.answer()?;
        if status != 204 && status != 200 {
            bail!("the server answered {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    /// Status and body of the next answer (RFC 9112; a body is told by its length).
    fn answer(&mut self) -> Result<(u16, Vec<u8>)> {
        self.reply.clear();
        let mut chunk = [0_u8; 4096];
        let end = loop {
            if let Some(at) = self.reply.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.reply.len() > HEAD_CAP {
                bail!("the head of the answer does not end");
            }
            match self.stream.read(&mut chunk).context("no answer came")? {
                0 => bail!("the server closed the connection"),
                n => self.reply.extend_from_slice(&chunk[..n]),
            }
        };
        let head = String::from_utf8_lossy(&self.reply[..end]).into_owned();
        let (status, length) = parse_head(&head)?;
        let mut body = self.reply.split_off(end);
        while body.len() < length {
            match self.stream.read(&mut chunk).context("the answer does not end")? {
                0 => bail!("the server closed the connection within its answer"),
                n => body.extend_from_slice(&chunk[..n]),
            }
        }
        Ok((status, body))
    }
}

/// Status and length of the body.
fn parse_head(head: &str) -> Result<(u16, usize)> {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.with_context(|| format!("the answer begins with {first:?}"))?;
    let fields = lines.filter_map(|l| l.split_once(':'));
    let length = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.filter_map(|(_, value)| value.trim().parse().ok()).next();
    Ok((status, length.unwrap_or(0).min(64 * 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_and_errors_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            address: listener.local_addr().unwrap(),
            path: "/write?precision=ns".into(),
            token: Some("zst_x".into()),
        };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut requests = String::new();
            for answer in [
                "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\npartial",
            ] {
                let mut seen = Vec::new();
                while !seen.ends_with(b"a 1\n") {
                    let mut chunk = [0_u8; 64];
                    let n = stream.read(&mut chunk).unwrap();
                    seen.extend_from_slice(&chunk[..n]);
                }
                requests.push_str(&String::from_utf8(seen).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
            requests
        });
        let mut client = Client::connect(&target).unwrap();
        client.write(b"a 1\n").unwrap();
        client.write(b"a 1\n").unwrap();
        let refused = client.write(b"a 1\n").unwrap_err().to_string();
        assert!(refused.contains("400") && refused.contains("partial"), "{refused}");
        let requests = server.join().unwrap();
        assert!(requests.starts_with("POST /write?precision=ns HTTP/1.1\r\nHost: 127.0.0.1:"), "{requests}");
        assert!(requests.contains("Authorization: Token zst_x\r\n"), "{requests}");
        assert!(requests.contains("Content-Length: 4\r\n\r\na 1\n"), "{requests}");
        assert!(client.write(b"a 1\n").is_err());
    }
}
