//! What the client does not pass on: the server's own words, where a bucket is, how long to wait, what checksum was kept. And what it
//! does not send: a checksum of what is written, for the server to verify.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};

use crate::error::{self, Error, Kind, Result};

/// Of an error's text so many bytes are read.
const WORDS_MAX: usize = 64 << 10;
const SHA256: &str = "x-amz-checksum-sha256";
const REGION: &str = "x-amz-bucket-region";
/// Azure's code, which stands in the text as well where there is one.
const CODE: &str = "x-ms-error-code";

/// What is written, in base64, as a header says it.
#[derive(Debug, Clone)]
pub struct Checksum {
    /// The header.
    pub name: &'static str,
    /// What stands before it there: `x-goog-hash` holds several, in one header or in several.
    pub kind: &'static str,
    /// The checksum.
    pub sum: String,
    /// Whether it is sent, too, and the server refuses what differs. Where it is not, the server says what it kept.
    pub is_sent: bool,
}

impl Checksum {
    /// Whether the server says another. It may say none.
    fn differs(&self, headers: &HeaderMap) -> bool {
        let said = headers.get_all(self.name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
        let sums: Vec<&str> = said.filter_map(|sum| sum.trim().strip_prefix(self.kind)).collect();
        !sums.is_empty() && !sums.contains(&self.sum.as_str())
    }

    fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}{}", self.kind, self.sum)).ok()
    }

    /// What goes with a request of S3, whose client sums up by itself.
    fn of_s3(headers: &HeaderMap) -> Option<Checksum> {
        let sum = headers.get(SHA256)?.to_str().ok()?.to_owned();
        Some(Checksum { name: SHA256, kind: "", sum, is_sent: false })
    }
}

tokio::task_local! {
    static HEARD: RefCell<Heard>;
}

/// What was heard of the last signed request. Nothing, where it did not come to one: there are no credentials.
#[derive(Debug, Default)]
pub struct Heard {
    /// The answer.
    pub answer: Option<Answer>,
    /// Why there is none.
    pub broken: Option<String>,
}

/// An answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// S3's, such as `NoSuchKey`; empty where the server gives none.
    pub code: String,
    /// In the server's words.
    pub message: String,
    /// Where the bucket is, if the server says so.
    pub region: Option<String>,
    /// When to ask again.
    pub wait: Option<Duration>,
    /// The checksum that the server kept is not the one that was sent.
    pub other_checksum: bool,
}

impl Heard {
    /// [`Kind::Io`] where the server says that it kept something else.
    pub fn kept_what_was_sent(&self, name: &str) -> Result<()> {
        match &self.answer {
            Some(answer) if answer.other_checksum => {
                Err(Error::new(Kind::Io, name, "the server kept other bytes than were sent: its checksum differs"))
            }
            _ => Ok(()),
        }
    }
}

/// Waits for a request and hears what the server says meanwhile.
pub async fn listen<T>(request: impl Future<Output = T>) -> (T, Heard) {
    HEARD
        .scope(RefCell::default(), async {
            let result = request.await;
            (result, HEARD.with(RefCell::take))
        })
        .await
}

/// Connects as `object_store` does, and listens to requests of which this says that they ask for objects: others ask for credentials.
#[derive(Debug)]
pub struct Listening(pub fn(&HeaderMap) -> bool);

#[derive(Debug)]
struct Listener(HttpClient, fn(&HeaderMap) -> bool);

impl HttpConnector for Listening {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Listener(ReqwestConnector::default().connect(options)?, self.0)))
    }
}

#[async_trait]
impl HttpService for Listener {
    async fn call(&self, mut request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        if !self.1(request.headers()) {
            return self.0.execute(request).await;
        }
        let sum = request.extensions().get::<Checksum>().cloned().or_else(|| Checksum::of_s3(request.headers()));
        if let Some((name, value)) =
            sum.as_ref().filter(|sum| sum.is_sent).and_then(|sum| Some((sum.name, sum.header()?)))
        {
            request.headers_mut().insert(name, value);
        }
        let answered = self.0.execute(request).await;
        let (heard, answered) = match answered {
            Err(e) => (Heard { answer: None, broken: Some(error::chain(&e)) }, Err(e)),
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let other = sum.is_some_and(|sum| sum.differs(&parts.headers));
                let (words, body) = match parts.status.is_success() {
                    true => (String::new(), body),
                    false => words(body).await,
                };
                let answer = Answer { other_checksum: other, ..answer(parts.status.as_u16(), &parts.headers, &words) };
                (Heard { answer: Some(answer), broken: None }, Ok(HttpResponse::from_parts(parts, body)))
            }
        };
        let _ = HEARD.try_with(|place| place.replace(heard));
        answered
    }
}

/// The text of a refusal, and a body that holds it.
async fn words(body: HttpResponseBody) -> (String, HttpResponseBody) {
    let bytes = Limited::new(body, WORDS_MAX).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text.clone(), HttpResponseBody::from(text))
}

fn answer(status: u16, headers: &HeaderMap, words: &str) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let region = header(REGION).map(str::to_owned).or_else(|| tagged(words, "Region"));
    let wait = header(RETRY_AFTER.as_str()).and_then(|v| v.trim().parse().ok()).map(Duration::from_secs);
    let code = tagged(words, "Code").or_else(|| header(CODE).map(str::to_owned)).unwrap_or_default();
    let message = tagged(words, "Message").unwrap_or_default();
    Answer { status, code, message, region, wait, other_checksum: false }
}

/// What stands in the first `<tag>…</tag>`, on one line and not endless.
fn tagged(words: &str, tag: &str) -> Option<String> {
    let (_, rest) = words.split_once(&format!("<{tag}>"))?;
    let (inner, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(inner.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_refusal_is_read() {
        let words = "<Error><Code>SlowDown</Code><Message>slow\ndown</Message><Region>eu</Region></Error>";
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        let heard = answer(503, &headers, words);
        assert_eq!((heard.code.as_str(), heard.message.as_str()), ("SlowDown", "slow down"));
        assert_eq!((heard.region.as_deref(), heard.wait), (Some("eu"), Some(Duration::from_secs(7))));
        for odd in ["", "<Code>", "</Code><Code>", "<Code></Code>", "<html>502</html>"] {
            assert_eq!(answer(502, &HeaderMap::new(), odd).code, "");
        }
        assert_eq!(tagged(&format!("<Code>{}</Code>", "x".repeat(9999)), "Code").unwrap().len(), 300);
        let azure = HeaderMap::from_iter([(HeaderName::from_static(CODE), "BlobNotFound".parse().unwrap())]);
        assert_eq!(answer(404, &azure, "").code, "BlobNotFound");
    }

    #[test]
    fn another_checksum_is_seen_and_none_is_none() {
        let google = Checksum { name: "x-goog-hash", kind: "md5=", sum: "AAA=".into(), is_sent: true };
        let azure = Checksum { name: "content-md5", kind: "", sum: "AAA=".into(), is_sent: false };
        assert_eq!(google.header().unwrap(), "md5=AAA=");
        let said = |name: &'static str, values: &[&str]| {
            values.iter().map(|v| (HeaderName::from_static(name), v.parse().unwrap())).collect::<HeaderMap>()
        };
        for (values, differs) in [
            (&[][..], false),
            (&["crc32c=BBB="], false),
            (&["crc32c=BBB=,md5=AAA="], false),
            (&["crc32c=BBB=", "md5=AAA="], false),
            (&["crc32c=AAA=, md5=BBB="], true),
        ] {
            assert_eq!(google.differs(&said("x-goog-hash", values)), differs, "{values:?}");
        }
        assert!(!azure.differs(&said("content-md5", &["AAA="])) && azure.differs(&said("content-md5", &["BBB="])));
        assert!(!azure.differs(&HeaderMap::new()));
    }
}
