//! The packets of SFTP, version 3, as OpenSSH speaks it: requests are put together, replies taken apart.
//!
//! ```text
//! packet = length u32 │ kind u8 │ id u32 │ fields        init and version have their number in place of the id
//! text   = length u32 │ bytes                            names are bytes: no encoding is meant
//! attributes = flags u32 │ [size u64] │ [uid u32 │ gid u32] │ [permissions u32] │ [atime u32 │ mtime u32]
//!              │ [count u32 × (text │ text)]
//! ```
//! Sources: draft-ietf-secsh-filexfer-02; OpenSSH's `PROTOCOL` for what ends in `@openssh.com`.

/// The largest reply that is taken, in bytes: what OpenSSH calls its largest packet.
pub const REPLY_MAX: usize = 256 << 10;
/// The version of the protocol.
pub const VERSION: u32 = 3;

const INIT: u8 = 1;
const VERSION_REPLY: u8 = 2;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const EXTENDED: u8 = 200;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_PERMISSIONS: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_MORE: u32 = 1 << 31;

/// To read.
pub const FOR_READING: u32 = 1;
/// To write a file that must not be there.
pub const NEW: u32 = 2 | 8 | 0x20;
/// To write a file anew.
pub const AGAIN: u32 = 2 | 8 | 0x10;

/// What a status says.
pub mod status {
    /// Done.
    pub const OK: u32 = 0;
    /// No more bytes, no more names.
    pub const EOF: u32 = 1;
    /// Nothing is there.
    pub const NO_SUCH_FILE: u32 = 2;
    /// Not allowed.
    pub const PERMISSION_DENIED: u32 = 3;
    /// Anything else: the name exists, the disk is full, it is read-only.
    pub const FAILURE: u32 = 4;
    /// The server does not know the request.
    pub const UNSUPPORTED: u32 = 8;
}

/// A reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What parses.
pub type Parsed<T> = std::result::Result<T, Malformed>;

/// A request: a packet that lacks its length and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request(Vec<u8>);

impl Request {
    fn new(kind: u8) -> Request {
        Request(vec![0, 0, 0, 0, kind, 0, 0, 0, 0])
    }

    fn u32(mut self, value: u32) -> Request {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Request {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// No text is longer than a u32 says: pieces are cut to what the server takes, and paths come from arguments and names.
    fn text(self, bytes: &[u8]) -> Request {
        let mut with = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        with.0.extend_from_slice(bytes);
        with
    }

    /// Opens a file; one that is made is for its user alone.
    pub fn open(path: &[u8], flags: u32) -> Request {
        Request::new(OPEN).text(path).u32(flags).u32(HAS_PERMISSIONS).u32(0o600)
    }

    /// Closes a handle.
    pub fn close(handle: &[u8]) -> Request {
        Request::new(CLOSE).text(handle)
    }

    /// Reads so many bytes of a file from `offset` on.
    pub fn read(handle: &[u8], offset: u64, length: u32) -> Request {
        Request::new(READ).text(handle).u64(offset).u32(length)
    }

    /// Writes a piece of a file.
    pub fn write(handle: &[u8], offset: u64, piece: &[u8]) -> Request {
        Request::new(WRITE).text(handle).u64(offset).text(piece)
    }

    /// What is at a path, where the path may be a link.
    pub fn lstat(path: &[u8]) -> Request {
        Request::new(LSTAT).text(path)
    }

    /// What is at a path, behind links.
    pub fn stat(path: &[u8]) -> Request {
        Request::new(STAT).text(path)
    }

    /// What a handle stands for.
    pub fn fstat(handle: &[u8]) -> Request {
        Request::new(FSTAT).text(handle)
    }

    /// Opens a folder.
    pub fn opendir(path: &[u8]) -> Request {
        Request::new(OPENDIR).text(path)
    }

    /// Some more names of a folder.
    pub fn readdir(handle: &[u8]) -> Request {
        Request::new(READDIR).text(handle)
    }

    /// Removes a file.
    pub fn remove(path: &[u8]) -> Request {
        Request::new(REMOVE).text(path)
    }

    /// Makes a folder, for its user alone.
    pub fn mkdir(path: &[u8]) -> Request {
        Request::new(MKDIR).text(path).u32(HAS_PERMISSIONS).u32(0o700)
    }

    /// The whole path, without links.
    pub fn realpath(path: &[u8]) -> Request {
        Request::new(REALPATH).text(path)
    }

    /// `fsync@openssh.com`
    pub fn fsync(handle: &[u8]) -> Request {
        Request::new(EXTENDED).text(b"fsync@openssh.com").text(handle)
    }

    /// `hardlink@openssh.com`
    pub fn hardlink(from: &[u8], to: &[u8]) -> Request {
        Request::new(EXTENDED).text(b"hardlink@openssh.com").text(from).text(to)
    }

    /// `statvfs@openssh.com`
    pub fn statvfs(path: &[u8]) -> Request {
        Request::new(EXTENDED).text(b"statvfs@openssh.com").text(path)
    }

    /// `limits@openssh.com`
    pub fn limits() -> Request {
        Request::new(EXTENDED).text(b"limits@openssh.com")
    }

    /// As it is sent.
    pub fn packet(self, id: u32) -> Vec<u8> {
        let mut packet = self.0;
        let length = u32::try_from(packet.len() - 4).unwrap_or(u32::MAX);
        packet[..4].copy_from_slice(&length.to_be_bytes());
        packet[5..9].copy_from_slice(&id.to_be_bytes());
        packet
    }
}

/// What is sent first.
pub fn init() -> Vec<u8> {
    Request::new(INIT).packet(VERSION)
}

/// What is said of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// Type and permissions, as of `st_mode`.
    pub mode: Option<u32>,
    /// When it was last written, seconds since 1970 by the server's clock.
    pub modified: Option<u32>,
}

impl Attributes {
    fn is(&self, kind: u32) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == kind)
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.is(0o040_000)
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        self.is(0o100_000)
    }

    /// Whether it is a link.
    pub fn is_link(&self) -> bool {
        self.is(0o120_000)
    }
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: Vec<u8>,
    /// What is there: a link is said to be one.
    pub attributes: Attributes,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// How it went.
    Status {
        /// One of [`status`].
        code: u32,
        /// In the server's words.
        message: String,
    },
    /// What was opened.
    Handle(Vec<u8>),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Names.
    Names(Vec<Name>),
    /// What is there.
    Attributes(Attributes),
    /// What an extension answers.
    Extended(Vec<u8>),
}

impl Reply {
    /// Takes a packet apart that has lost its length.
    pub fn parse(packet: Vec<u8>) -> Parsed<(u32, Reply)> {
        let mut fields = Fields(&packet);
        let (kind, id) = (fields.u8()?, fields.u32()?);
        let reply = match kind {
            101 => Reply::Status { code: fields.u32()?, message: fields.words() },
            102 => Reply::Handle(fields.text()?.to_vec()),
            103 => {
                let length = fields.text()?.len();
                fields.end()?;
                let mut data = packet;
                data.drain(..data.len() - length);
                return Ok((id, Reply::Data(data)));
            }
            104 => {
                let count = fields.u32()?;
                // Each has two texts and attributes: at least twelve bytes.
                if count as usize > fields.0.len() / 12 {
                    return Err(Malformed);
                }
                let names = (0..count).map(|_| {
                    let name = fields.text()?.to_vec();
                    fields.text()?;
                    Ok(Name { name, attributes: fields.attributes()? })
                });
                Reply::Names(names.collect::<Parsed<_>>()?)
            }
            105 => Reply::Attributes(fields.attributes()?),
            201 => return Ok((id, Reply::Extended(fields.0.to_vec()))),
            _ => return Err(Malformed),
        };
        fields.end()?;
        Ok((id, reply))
    }
}

/// What the server says first: its version, and the extensions that it knows.
pub fn version(packet: &[u8]) -> Parsed<(u32, Vec<String>)> {
    let mut fields = Fields(packet);
    if fields.u8()? != VERSION_REPLY {
        return Err(Malformed);
    }
    let (number, mut extensions) = (fields.u32()?, Vec::new());
    while !fields.0.is_empty() {
        extensions.push(String::from_utf8_lossy(fields.text()?).into_owned());
        fields.text()?;
    }
    Ok((number, extensions))
}

/// Bytes that one read and one write may have: the answer to [`Request::limits`]. 0 where the server does not say.
pub fn limits(answer: &[u8]) -> Parsed<(u64, u64)> {
    let mut fields = Fields(answer);
    fields.u64()?;
    Ok((fields.u64()?, fields.u64()?))
}

/// What is left of a packet.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Parsed<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn u8(&mut self) -> Parsed<u8> {
        self.number().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Parsed<u32> {
        self.number().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Parsed<u64> {
        self.number().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Parsed<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// What a status says in words, and in which language. Old servers leave both out.
    fn words(&mut self) -> String {
        let words = self.text().map(|words| String::from_utf8_lossy(words).into_owned());
        self.0 = &[];
        words.unwrap_or_default()
    }

    fn attributes(&mut self) -> Parsed<Attributes> {
        let flags = self.u32()?;
        let mut found = Attributes::default();
        if flags & HAS_SIZE != 0 {
            found.size = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            self.u64()?;
        }
        if flags & HAS_PERMISSIONS != 0 {
            found.mode = Some(self.u32()?);
        }
        if flags & HAS_TIMES != 0 {
            self.u32()?;
            found.modified = Some(self.u32()?);
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.u32()? {
                self.text()?;
                self.text()?;
            }
        }
        Ok(found)
    }

    fn end(&self) -> Parsed<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// The body of the fuzz target: no panic, and nothing larger than what came.
pub fn fuzz(bytes: &[u8]) {
    let _ = (version(bytes), super::Counts::parse(bytes).map(|counts| (counts.room(), counts.full())), limits(bytes));
    match Reply::parse(bytes.to_vec()) {
        Ok((_, Reply::Data(data) | Reply::Handle(data) | Reply::Extended(data))) => assert!(data.len() < bytes.len()),
        Ok((_, Reply::Names(names))) => assert!(names.iter().map(|n| n.name.len() + 12).sum::<usize>() < bytes.len()),
        _ => {}
    }
}
