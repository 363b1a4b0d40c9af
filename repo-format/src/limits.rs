//! Every maximum of the format and the relations between them (SPEC "Limits"). Sizes are in bytes.

/// The format version this crate reads and writes.
pub const VERSION: u8 = 0;

/// Plaintext of one chunk of any kind.
pub const CHUNK_MAX: usize = 4 << 20;
/// Plaintext of one chunk of kind data: the chunker's hard maximum.
pub const DATA_CHUNK_MAX: usize = 1 << 20;
/// Default mean length of a data chunk.
pub const CUT_AVERAGE: u32 = 64 << 10;
/// Smallest and largest mean length a configuration may name.
pub const CUT_AVERAGE_RANGE: (u32, u32) = (4 << 10, 512 << 10);

/// Default mean plaintext of a leaf.
pub const LEAF_TARGET: u32 = 256 << 10;
/// Smallest and largest mean leaf a configuration or a table may name.
pub const LEAF_TARGET_RANGE: (u32, u32) = (4 << 10, 1 << 20);
/// Default mean number of children of a branch.
pub const BRANCH_CHILDREN: u32 = 256;
/// Smallest and largest mean number of children a configuration may name.
pub const BRANCH_CHILDREN_RANGE: (u32, u32) = (8, 4096);

/// Default plaintext at which a frame is closed.
pub const FRAME_TARGET: u32 = 1 << 20;
/// Smallest and largest frame target a configuration may name.
pub const FRAME_TARGET_RANGE: (u32, u32) = (16 << 10, 4 << 20);
/// Plaintext of one frame: a target not quite reached and one chunk more.
pub const FRAME_PLAIN_MAX: usize = 8 << 20;
/// Chunks in one frame.
pub const FRAME_CHUNKS_MAX: usize = 8192;
/// Frames are padded to a multiple of this.
pub const FRAME_PADDING: usize = 4 << 10;
/// One sealed frame with header, list, tag and padding.
pub const FRAME_MAX: usize = 9 << 20;

/// Default size at which a pack is closed.
pub const PACK_TARGET: u32 = 16 << 20;
/// Smallest and largest pack target a configuration may name.
pub const PACK_TARGET_RANGE: (u32, u32) = (256 << 10, 64 << 20);
/// Frames in one pack.
pub const PACK_FRAMES_MAX: usize = 16384;
/// Chunks in one pack.
pub const PACK_CHUNKS_MAX: usize = 1 << 17;
/// The sealed footer of a pack.
pub const PACK_FOOTER_MAX: usize = 12 << 20;
/// One pack, padding included.
pub const PACK_MAX: usize = 96 << 20;

/// Chunks in one index object.
pub const INDEX_ENTRIES_MAX: usize = 1 << 17;
/// Packs one index object covers.
pub const INDEX_PACKS_MAX: usize = 16384;
/// One index object, padding included.
pub const INDEX_MAX: usize = 12 << 20;

/// One log entry.
pub const LOG_ENTRY_MAX: usize = 4 << 20;
/// Names (snapshots, packs, index objects, writers, frames) in one list of a log entry.
pub const LOG_LIST_MAX: usize = 32768;
/// Sessions that one session takes over, earlier adoptions included.
pub const ADOPTED_MAX: usize = 1024;
/// What a remark seals, padding included.
pub const REMARK_MAX: usize = 4096;
/// A checkpoint is due every so many log entries.
pub const CHECKPOINT_EVERY: u64 = 100;
/// The log is trimmed to multiples of it.
pub const TRIM_EVERY: u64 = 1000;
/// One checkpoint.
pub const CHECKPOINT_MAX: usize = 64 << 20;

/// One snapshot object, padding included.
pub const SNAPSHOT_MAX: usize = 64 << 20;
/// Roots in one snapshot.
pub const SNAPSHOT_ROOTS_MAX: usize = 1 << 18;
/// What one snapshot says: its body, description and shards.
pub const SNAPSHOT_BODY_MAX: usize = 32 << 20;
/// Shards of one snapshot.
pub const SNAPSHOT_SHARDS_MAX: usize = 1 << 17;

/// Content of a file that stands in its record.
pub const CONTENT_INLINE_MAX: usize = 256;
/// Attributes, or holes, of a file that stand in its record.
pub const ASIDE_INLINE_MAX: usize = 4 << 10;
/// Attributes, or holes, of a file.
pub const ASIDE_MAX: usize = 64 << 20;
/// One part of a path: the longest name that a call of POSIX takes. Many file systems have shorter ones.
pub const PART_MAX: usize = 4095;
/// The key of a path.
pub const PATH_MAX: usize = 64 << 10;
/// Where a symbolic link leads.
pub const TARGET_MAX: usize = 4095;
/// The name of a user or a group.
pub const USER_NAME_MAX: usize = 1024;

/// The configuration object.
pub const CONFIG_MAX: usize = 64 << 10;
/// One credential object.
pub const CREDENTIAL_MAX: usize = 64 << 10;
/// Content key epochs in one credential.
pub const EPOCHS_MAX: usize = 256;
/// Must-understand features in one unit.
pub const FEATURES_MAX: usize = 64;
/// Length of a feature's name.
pub const FEATURE_NAME_MAX: usize = 64;

/// Default Argon2id memory in KiB.
pub const ARGON_MEMORY_KIB: u32 = 64 << 10;
/// Default Argon2id passes.
pub const ARGON_PASSES: u32 = 3;
/// Default Argon2id lanes.
pub const ARGON_LANES: u32 = 1;
/// Argon2id memory in KiB that a reader accepts.
pub const ARGON_MEMORY_KIB_RANGE: (u32, u32) = (8 << 10, 256 << 10);
/// Argon2id passes that a reader accepts.
pub const ARGON_PASSES_RANGE: (u32, u32) = (1, 16);
/// Argon2id lanes that a reader accepts.
pub const ARGON_LANES_RANGE: (u32, u32) = (1, 16);

/// The largest object of any kind.
pub const OBJECT_MAX: usize = 96 << 20;

const _: () = assert!(DATA_CHUNK_MAX <= CHUNK_MAX);
const _: () = assert!(2 * CUT_AVERAGE_RANGE.1 as usize <= DATA_CHUNK_MAX);
const _: () = assert!(CUT_AVERAGE_RANGE.0 <= CUT_AVERAGE && CUT_AVERAGE <= CUT_AVERAGE_RANGE.1);
const _: () = assert!(FRAME_TARGET_RANGE.0 <= FRAME_TARGET && FRAME_TARGET <= FRAME_TARGET_RANGE.1);
const _: () = assert!(FRAME_TARGET_RANGE.1 as usize + CHUNK_MAX <= FRAME_PLAIN_MAX);
const _: () = assert!(FRAME_PLAIN_MAX + 64 * FRAME_CHUNKS_MAX + 2 * FRAME_PADDING <= FRAME_MAX);
const _: () = assert!(PACK_CHUNKS_MAX <= INDEX_ENTRIES_MAX);
const _: () = assert!(FRAME_MAX.is_multiple_of(FRAME_PADDING));
const _: () = assert!(PACK_TARGET_RANGE.0 <= PACK_TARGET && PACK_TARGET <= PACK_TARGET_RANGE.1);
// A full pack, one frame more, its footer and 12 % of padding.
const _: () = assert!((PACK_TARGET_RANGE.1 as usize + FRAME_MAX + PACK_FOOTER_MAX) / 100 * 112 <= PACK_MAX);
const _: () = assert!(PACK_CHUNKS_MAX * 40 + PACK_FRAMES_MAX * 16 <= PACK_FOOTER_MAX);
// Every chunk in a frame of its own, every pack name, a filter of 16 bits a chunk, 12 % of padding.
const _: () = assert!((INDEX_ENTRIES_MAX * (42 + 16 + 2) + INDEX_PACKS_MAX * 56 + 4096) / 100 * 112 <= INDEX_MAX);
const _: () = assert!(LOG_LIST_MAX * 64 + 4096 <= LOG_ENTRY_MAX);
const _: () =
    assert!(SNAPSHOT_ROOTS_MAX * 33 + SNAPSHOT_BODY_MAX + SNAPSHOT_SHARDS_MAX * 5 + 4096 <= SNAPSHOT_MAX / 112 * 100);
const _: () = assert!(CONTENT_INLINE_MAX < CUT_AVERAGE_RANGE.0 as usize && ASIDE_INLINE_MAX <= ASIDE_MAX);
const _: () = assert!(PART_MAX < PATH_MAX);
const _: () = assert!(
    PACK_MAX <= OBJECT_MAX
        && INDEX_MAX <= OBJECT_MAX
        && SNAPSHOT_MAX <= OBJECT_MAX
        && CHECKPOINT_MAX <= OBJECT_MAX
        && LOG_ENTRY_MAX <= OBJECT_MAX
);

/// Padme: the smallest length of at least `n` whose lower bits are zero, so that a length tells about as much as
/// its logarithm does. Adds at most 12 %. Lengths above half of `usize` are returned as they are.
pub fn padme(n: usize) -> usize {
    if !(2..=usize::MAX / 2).contains(&n) {
        return n;
    }
    let e = n.ilog2();
    let low = e - (e.ilog2() + 1);
    let mask = (1usize << low) - 1;
    (n + mask) & !mask
}
