//! A live cluster over CQL: its schema, reads of a few rows, and the writing of many.
//!
//! This module is the one place of async in the engine: the driver has no other way. It hides a runtime of one thread
//! behind calls that block; nothing async leaves it.

mod pump;
mod ring;
mod schema;
mod tls;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::{ConnectionPoolError, DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::policies::host_filter::AllowListHostFilter;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::response::query_result::QueryResult;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::mutate::Mutation;
use super::schema::statements::Release;
use crate::error::{Error, Kind, Result};

pub use pump::{Checkpoint, Rate, Sent, Unit, Writing};
pub use tls::Tls;

const NOT_THERE: &str = "give --contact HOST[:PORT] of nodes that are up and listen for clients";
/// The port of CQL where a contact names none.
const PORT: u16 = 9042;
/// How often a statement is tried while nodes are overloaded, restarting or away; half a minute in all.
const ATTEMPTS: u32 = 9;
/// The wait before the second attempt; it doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(60);
/// Nodes that do not agree on the schema yet are asked again after this.
const AGREEMENT: Duration = Duration::from_millis(20);
/// Prepared statements that are kept; a table has one for each combination of columns that is written together.
const PREPARED_MAX: usize = 1000;

/// How many replicas must have a write before it counts, or answer a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One.
    One,
    /// A majority in the coordinator's data centre.
    LocalQuorum,
    /// A majority.
    Quorum,
    /// All.
    All,
}

/// How to reach a cluster.
pub struct Access {
    /// Nodes as `HOST` or `HOST:PORT`. No other nodes are connected to.
    pub contacts: Vec<String>,
    /// User and password.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Certificates; without, nothing is encrypted on the way.
    pub tls: Option<Tls>,
    /// Of reads and writes.
    pub level: Level,
}

/// What tells a cluster from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// As configured: often the same for several.
    pub name: String,
    /// Ids of its nodes.
    pub hosts: BTreeSet<String>,
}

impl Cluster {
    /// Whether both are one cluster: nodes come and go, but not all at once.
    pub fn is(&self, other: &Cluster) -> bool {
        self.name == other.name && !self.hosts.is_disjoint(&other.hosts)
    }
}

/// A connection to a cluster.
pub struct Client {
    runtime: Runtime,
    shared: Arc<Shared>,
    cluster: Cluster,
    /// What the node that was asked first runs.
    version: String,
}

/// What requests in flight share.
struct Shared {
    session: Session,
    prepared: Mutex<HashMap<String, PreparedStatement>>,
    /// Held while one is prepared, so that those that wait for the same find it.
    preparing: tokio::sync::Mutex<()>,
}

/// Rows as the protocol carries them.
pub struct Rows {
    /// Names of the columns.
    pub names: Vec<String>,
    /// Raw values; `None` is null.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl Client {
    /// Connects. Errors: no contact answers, a wrong password.
    pub fn connect(access: &Access) -> Result<Client> {
        let io = |e| Error::io("starting the CQL client", e);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(io)?;
        let contacts: Vec<String> = access.contacts.iter().map(|c| with_port(c)).collect();
        let subject = format!("cluster at {}", access.contacts.join(", "));
        let filter = AllowListHostFilter::new(&contacts).map_err(|e| Error::io(&subject, e).hint(NOT_THERE))?;
        let level = match access.level {
            Level::One => Consistency::One,
            Level::LocalQuorum => Consistency::LocalQuorum,
            Level::Quorum => Consistency::Quorum,
            Level::All => Consistency::All,
        };
        let profile = ExecutionProfile::builder()
            .consistency(level)
            .request_timeout(Some(REQUEST))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()));
        let mut builder = SessionBuilder::new()
            .known_nodes(&contacts)
            .host_filter(Arc::new(filter))
            .default_execution_profile_handle(profile.build().into_handle())
            .fetch_schema_metadata(false)
            .refresh_metadata_on_auto_schema_agreement(false)
            .schema_agreement_interval(AGREEMENT)
            .connection_timeout(Duration::from_secs(10));
        if let Some(tls) = &access.tls {
            builder = builder.tls_context(Some(tls.config()?));
        }
        if let Some((user, password)) = &access.login {
            builder = builder.user(user, password.as_str());
        }
        let session = runtime.block_on(builder.build()).map_err(|e| refused(&subject, &e.to_string()))?;
        let hosts = session.get_cluster_state().get_nodes_info().iter().map(|node| node.host_id.to_string()).collect();
        let shared = Arc::new(Shared { session, prepared: Mutex::default(), preparing: tokio::sync::Mutex::default() });
        let told = "SELECT cluster_name, release_version FROM system.local";
        let told = runtime.block_on(shared.rows(told, &[])).map_err(|e| e.within(&subject))?;
        let text = |place: usize| {
            let value = told.rows.first().and_then(|row| row.get(place)?.as_deref()).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let (cluster, version) = (Cluster { name: text(0), hosts }, text(1));
        Ok(Client { runtime, shared, cluster, version })
    }

    /// Which cluster it is.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What the node that was asked first runs.
    pub fn release(&self) -> Result<Release> {
        let version = &self.version;
        Release::parse(version)
            .ok_or_else(|| Error::new(Kind::Unsupported, "cluster", format!("is of a version called {version:?}")))
    }

    /// Reads some rows, all in one answer: the statement must be limited to a few.
    pub fn rows(&self, text: &str, values: &[Vec<u8>]) -> Result<Rows> {
        self.runtime.block_on(self.shared.rows(text, values))
    }

    /// Reads several at once, each as [`Client::rows`] does: statements with their values, a few of them. The answers are in
    /// the order of the questions.
    pub fn all_rows(&self, asked: impl Iterator<Item = (String, Vec<Vec<u8>>)>) -> Result<Vec<Rows>> {
        self.runtime.block_on(async {
            let ask = |(text, values): (String, Vec<Vec<u8>>)| {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.rows(&text, &values).await })
            };
            let mut answers = Vec::new();
            for running in asked.map(ask).collect::<Vec<_>>() {
                answers.push(pump::joined(running.await)?);
            }
            Ok(answers)
        })
    }

    /// Executes a statement once, such as a change of the schema, and waits until the nodes agree about it.
    pub fn execute(&self, text: &str) -> Result<()> {
        let sent = self.runtime.block_on(self.shared.session.query_unpaged(text, &[]));
        sent.map(drop).map_err(|e| failed(text, &e))
    }
}

impl Client {
    /// Sends one statement that may be sent twice.
    pub fn send(&self, mutation: &Mutation) -> Result<()> {
        self.runtime.block_on(self.shared.answered(&mutation.text, &mutation.values)).map(drop)
    }
}

impl Shared {
    async fn rows(&self, text: &str, values: &[Vec<u8>]) -> Result<Rows> {
        decoded(text, self.answered(text, values).await?)
    }

    /// Sends a statement until it is answered, a bounded number of times.
    async fn answered(&self, text: &str, values: &[Vec<u8>]) -> Result<QueryResult> {
        let mut attempt = 0;
        loop {
            let error = match self.attempt(text, values).await {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            attempt += 1;
            if !passes(&error) || attempt >= ATTEMPTS {
                return Err(self.named(failed(text, &error), attempt));
            }
            tokio::time::sleep(pause(attempt)).await;
        }
    }

    async fn attempt(&self, text: &str, values: &[Vec<u8>]) -> std::result::Result<QueryResult, ExecutionError> {
        // What has no values is asked once: preparing it would be another round trip.
        if values.is_empty() {
            return self.session.query_unpaged(text, &[]).await;
        }
        let prepared = self.prepare(text).await?;
        self.session.execute_unpaged(&prepared, Raw(values)).await
    }

    async fn prepare(&self, text: &str) -> std::result::Result<PreparedStatement, ExecutionError> {
        let find = || self.prepared.lock().ok().and_then(|p| p.get(text).cloned());
        if let Some(found) = find() {
            return Ok(found);
        }
        let _alone = self.preparing.lock().await;
        if let Some(found) = find() {
            return Ok(found);
        }
        let mut prepared = self.session.prepare(text).await?;
        prepared.set_is_idempotent(true);
        if let Ok(mut known) = self.prepared.lock() {
            if known.len() >= PREPARED_MAX {
                known.clear();
            }
            known.insert(text.to_string(), prepared.clone());
        }
        Ok(prepared)
    }

    /// Says which contacts are away, after the last of several attempts.
    fn named(&self, error: Error, attempts: u32) -> Error {
        if attempts < ATTEMPTS {
            return error;
        }
        let state = self.session.get_cluster_state();
        let away = state.get_nodes_info().iter().filter(|n| n.is_enabled() && !n.is_connected());
        let names: Vec<String> = away.map(|n| n.address.to_string()).collect();
        let error = error.within(format!("after {attempts} attempts"));
        match names.as_slice() {
            [] => {
                error.hint("see the nodes' logs; restore again to go on, perhaps with a lower --rate or --concurrency")
            }
            names => error.hint(format!("not connected to {}: start it and restore again to go on", names.join(", "))),
        }
    }
}

/// The rows of an answer to `text`.
fn decoded(text: &str, result: QueryResult) -> Result<Rows> {
    let bad = |e: &dyn std::fmt::Display| Error::new(Kind::Damaged, clipped(text), format!("the answer: {e}"));
    let rows = result.into_rows_result().map_err(|e| bad(&e))?;
    let names = rows.column_specs().iter().map(|c| c.name().to_string()).collect();
    let mut all = Vec::with_capacity(rows.rows_num());
    for row in rows.rows::<ColumnIterator<'_, '_>>().map_err(|e| bad(&e))? {
        let mut values = Vec::new();
        for column in row.map_err(|e| bad(&e))? {
            values.push(column.map_err(|e| bad(&e))?.slice.map(|s| s.as_slice().to_vec()));
        }
        all.push(values);
    }
    Ok(Rows { names, rows: all })
}

/// Why a cluster was not reached. The driver tells the reasons of the last node in words alone.
fn refused(subject: &str, text: &str) -> Error {
    let said = |words: &[&str]| words.iter().any(|word| text.to_lowercase().contains(word));
    let (kind, hint) = if said(&["authenticat", "credentials"]) {
        (Kind::Denied, "give --cql-user and --cql-password-file")
    } else if said(&["not valid for name"]) {
        (Kind::Denied, "give --contact as the certificate names it, or --cql-any-name")
    } else if said(&["invalid peer certificate"]) {
        (Kind::Denied, "give --cql-ca the certificate that signed those of the nodes")
    } else if said(&["certificaterequired", "certificate required", "badcertificate", "unknownca"]) {
        (Kind::Denied, "the nodes ask for a certificate that they know: give --cql-cert and --cql-key")
    } else if said(&["setup request", "connection reset"]) {
        (Kind::Io, "something else than CQL answers there; where the nodes want TLS, give --cql-ca")
    } else {
        (Kind::Io, NOT_THERE)
    };
    Error::new(kind, subject, text).hint(hint)
}

fn with_port(contact: &str) -> String {
    let bare = contact.contains(':') && !contact.contains(']') && contact.matches(':').count() > 1;
    match contact.rsplit_once(':') {
        _ if bare => format!("[{contact}]:{PORT}"),
        Some((_, port)) if port.parse::<u16>().is_ok() => contact.to_string(),
        _ => format!("{contact}:{PORT}"),
    }
}

fn pause(attempt: u32) -> Duration {
    PAUSE.saturating_mul(1 << attempt.min(16)).min(PAUSE_MAX)
}

/// Whether trying again may help: nodes that are overloaded, away, or starting.
fn passes(error: &ExecutionError) -> bool {
    let of_attempt = |e: &RequestAttemptError| match e {
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => true,
        RequestAttemptError::DbError(db, _) => matches!(
            db,
            DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::Unavailable { .. }
                | DbError::WriteTimeout { .. }
                | DbError::ReadTimeout { .. }
                | DbError::RateLimitReached { .. }
                | DbError::ServerError
        ),
        _ => false,
    };
    let of_pool = |e: &ConnectionPoolError| !matches!(e, ConnectionPoolError::NodeDisabledByHostFilter);
    match error {
        ExecutionError::LastAttemptError(e) => of_attempt(e),
        ExecutionError::RequestTimeout(_) => true,
        ExecutionError::ConnectionPoolError(e) => of_pool(e),
        ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt }) => of_attempt(first_attempt),
        ExecutionError::PrepareError(PrepareError::ConnectionPoolError(e)) => of_pool(e),
        _ => false,
    }
}

fn failed(text: &str, error: &ExecutionError) -> Error {
    let denied = |e: &RequestAttemptError| {
        matches!(e, RequestAttemptError::DbError(DbError::Unauthorized | DbError::AuthenticationError, _))
    };
    let kind = match error {
        ExecutionError::LastAttemptError(e) if denied(e) => Kind::Denied,
        _ => Kind::Io,
    };
    Error::new(kind, clipped(text), error)
}

/// The beginning of a statement, for errors: it holds names only, no values.
fn clipped(text: &str) -> String {
    super::lex::clip(text, 160).replace('\n', " ")
}

/// Values that are serialised already.
struct Raw<'v>(&'v [Vec<u8>]);

impl SerializeRow for Raw<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> std::result::Result<(), SerializationError> {
        if context.columns().len() != self.0.len() {
            let wanted = context.columns().len();
            let message = format!("{} values for a statement that takes {wanted}", self.0.len());
            return Err(SerializationError::new(std::io::Error::other(message)));
        }
        for value in self.0 {
            writer.make_cell_writer().set_value(value).map_err(SerializationError::new)?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
