//! What the client does not pass on: the server's own words, where a bucket is, how long to wait, what checksum was kept.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};

use crate::error::{self, Error, Kind, Result};

/// Of an error's text so many bytes are read.
const WORDS_MAX: usize = 64 << 10;
const CHECKSUM: &str = "x-amz-checksum-sha256";
const REGION: &str = "x-amz-bucket-region";

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

/// Connects as `object_store` does, and listens.
#[derive(Debug)]
pub struct Listening;

#[derive(Debug)]
struct Listener(HttpClient);

impl HttpConnector for Listening {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Listener(ReqwestConnector::default().connect(options)?)))
    }
}

#[async_trait]
impl HttpService for Listener {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        // What asks for credentials is signed otherwise, or not at all.
        let signed = request.headers().get(AUTHORIZATION).is_some_and(|v| v.as_bytes().starts_with(b"AWS4-"));
        let sent = request.headers().get(CHECKSUM).cloned();
        let answered = self.0.execute(request).await;
        if !signed {
            return answered;
        }
        let (heard, answered) = match answered {
            Err(e) => (Heard { answer: None, broken: Some(error::chain(&e)) }, Err(e)),
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let kept = parts.headers.get(CHECKSUM);
                let other = kept.zip(sent.as_ref()).is_some_and(|(kept, sent)| kept != sent);
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
    let code = tagged(words, "Code").unwrap_or_default();
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
    }
}
