//! Tests of the cache: whatever is odd is a miss.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::describe::Shape;

const NO_FEATURES: Features = Features {
    exceptions: false,
    gc: false,
    memory64: false,
    multi_memory: false,
    relaxed_simd: false,
    wide_arithmetic: false,
};

const SETTINGS: EngineSettings =
    EngineSettings { features: NO_FEATURES, epochs: false, fuel: false, stack: 512 << 10, instrument: false };

const CODE: &[u8] = b"\x7fELF code of the artifact";

struct Fixture {
    folder: tempfile::TempDir,
    cache: Cache,
    key: Key,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("a/b")).unwrap();
        let key = key(b"module");
        let fixture = Self { folder, cache, key };
        fixture.store(&fixture.key, CODE);
        fixture
    }

    fn store(&self, key: &Key, code: &[u8]) -> File {
        let mut artifact = tempfile::tempfile().unwrap();
        artifact.write_all(code).unwrap();
        self.cache.store(key, &mut artifact, &description()).unwrap()
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.cache.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_str().unwrap().ends_with(end)).collect()
    }

    fn file(&self, end: &str) -> PathBuf {
        let [path] = self.files(end).try_into().unwrap();
        path
    }

    fn miss(&self) {
        assert!(self.cache.lookup(&self.key).is_none());
        assert!(self.files(".json").is_empty(), "an odd entry is removed");
        assert!(self.files(".cwasm").is_empty(), "an odd entry is removed");
        self.store(&self.key, CODE);
        assert!(self.cache.lookup(&self.key).is_some(), "and replaced");
    }
}

fn key(module: &[u8]) -> Key {
    Key::new(&Module::from_bytes("m", module).unwrap(), &SETTINGS)
}

fn description() -> Description {
    Description { shape: Shape::Component, memory_minimum: 65536, ..Description::default() }
}

fn content(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[position] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_stored_is_found_again() {
    let fixture = Fixture::new();
    let (file, found) = fixture.cache.lookup(&fixture.key).unwrap();
    assert_eq!(content(file), CODE);
    assert_eq!(found, description());
    assert_eq!(content(fixture.store(&key(b"other"), b"2")), b"2");
    let again = Cache::open(fixture.cache.path()).unwrap();
    assert!(again.lookup(&fixture.key).is_some());
    assert!(again.lookup(&key(b"third")).is_none());
}

#[test]
fn a_found_artifact_cannot_be_written_through_its_descriptor() {
    let fixture = Fixture::new();
    let (mut file, _) = fixture.cache.lookup(&fixture.key).unwrap();
    assert!(file.write_all(b"x").is_err());
}

#[test]
fn settings_and_content_make_the_key() {
    let module = Module::from_bytes("m", b"module").unwrap();
    let other = Module::from_bytes("another name", b"module").unwrap();
    let base = Key::new(&module, &SETTINGS);
    assert_eq!(base, Key::new(&other, &SETTINGS));
    assert_ne!(base, key(b"modulf"));
    let features = Features { gc: true, ..NO_FEATURES };
    for settings in [
        EngineSettings { epochs: true, ..SETTINGS },
        EngineSettings { fuel: true, ..SETTINGS },
        EngineSettings { stack: 1, ..SETTINGS },
        EngineSettings { instrument: true, ..SETTINGS },
        EngineSettings { features, ..SETTINGS },
    ] {
        assert_ne!(base, Key::new(&module, &settings), "{settings:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_a_miss() {
    let fixture = Fixture::new();
    flip(&fixture.file(".cwasm"), 9);
    fixture.miss();
    let text = std::fs::read_to_string(fixture.file(".json")).unwrap();
    flip(&fixture.file(".json"), text.find("65536").unwrap());
    fixture.miss();
    flip(&fixture.file(".json"), text.find("mac").unwrap() + 8);
    fixture.miss();
}

#[test]
fn a_truncated_or_lengthened_entry_is_a_miss() {
    let fixture = Fixture::new();
    std::fs::write(fixture.file(".cwasm"), &CODE[..5]).unwrap();
    fixture.miss();
    std::fs::write(fixture.file(".cwasm"), [CODE, b"x"].concat()).unwrap();
    fixture.miss();
    std::fs::write(fixture.file(".json"), b"{").unwrap();
    fixture.miss();
    std::fs::remove_file(fixture.file(".cwasm")).unwrap();
    fixture.miss();
}

#[test]
fn an_entry_of_another_module_is_a_miss() {
    let fixture = Fixture::new();
    let (json, artifact) = (fixture.file(".json"), fixture.file(".cwasm"));
    let (own_json, own_artifact) = (std::fs::read(&json).unwrap(), std::fs::read(&artifact).unwrap());
    let other = key(b"other");
    fixture.cache.remove(&fixture.key);
    fixture.store(&other, CODE);
    // The whole entry of `module` under the name of `other`.
    let mac = blake3::Hash::from_hex(serde_json::from_slice::<Entry<'_>>(&own_json).unwrap().mac).unwrap();
    std::fs::write(fixture.file(".json"), &own_json).unwrap();
    std::fs::rename(fixture.file(".cwasm"), fixture.cache.path().join(other.artifact(&mac))).unwrap();
    std::fs::write(fixture.file(".cwasm"), own_artifact).unwrap();
    assert!(fixture.cache.lookup(&other).is_none());
}

#[test]
fn an_entry_of_another_version_is_a_miss() {
    let fixture = Fixture::new();
    let text = std::fs::read_to_string(fixture.file(".json")).unwrap();
    std::fs::write(fixture.file(".json"), text.replace("{\"v\":1", "{\"v\":2")).unwrap();
    fixture.miss();
}

#[test]
fn an_entry_under_another_secret_is_a_miss() {
    let fixture = Fixture::new();
    flip(&fixture.cache.path().join(SECRET), 3);
    let again = Cache::open(fixture.cache.path()).unwrap();
    assert!(again.lookup(&fixture.key).is_none());
}

#[test]
fn linked_or_shared_files_are_a_miss() {
    let fixture = Fixture::new();
    let artifact = fixture.file(".cwasm");
    let elsewhere = fixture.folder.path().join("elsewhere");
    std::fs::rename(&artifact, &elsewhere).unwrap();
    symlink(&elsewhere, &artifact).unwrap();
    fixture.miss();
    std::fs::set_permissions(fixture.file(".cwasm"), std::fs::Permissions::from_mode(0o666)).unwrap();
    fixture.miss();
}

#[test]
fn a_directory_that_others_can_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| Cache::open(path).unwrap_err().to_string();
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused(&shared).contains("mode 777"));
    let private = folder.path().join("private");
    Cache::open(&private).unwrap();
    let link = folder.path().join("link");
    symlink(&private, &link).unwrap();
    assert!(refused(&link).contains("symbolic link"), "{}", refused(&link));
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(!refused(&file).is_empty());
}

#[test]
fn the_secret_is_private_and_checked() {
    let fixture = Fixture::new();
    let secret = fixture.cache.path().join(SECRET);
    assert_eq!(std::fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&secret, b"short").unwrap();
    assert!(Cache::open(fixture.cache.path()).unwrap_err().to_string().contains("key file"));
    std::fs::write(&secret, [7; 33]).unwrap();
    assert!(Cache::open(fixture.cache.path()).is_err());
    std::fs::remove_file(&secret).unwrap();
    symlink("/dev/zero", &secret).unwrap();
    assert!(Cache::open(fixture.cache.path()).is_err());
}

#[test]
fn no_unfinished_files_are_left() {
    let fixture = Fixture::new();
    let names: Vec<_> = fixture.files("").into_iter().collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn the_longest_unused_go_when_the_cache_is_full() {
    let mut fixture = Fixture::new();
    fixture.cache.capacity = 2 * CODE.len() as u64;
    let old = SystemTime::now() - Duration::from_secs(100);
    File::options().write(true).open(fixture.file(".cwasm")).unwrap().set_modified(old).unwrap();
    let (second, third) = (key(b"second"), key(b"third"));
    fixture.store(&second, CODE);
    assert!(fixture.cache.lookup(&fixture.key).is_some(), "two fit, and this one was used now");
    for path in fixture.files(".cwasm") {
        if path.to_str().unwrap().contains(&second.0.to_hex().to_string()) {
            File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
    }
    fixture.store(&third, CODE);
    assert!(fixture.cache.lookup(&second).is_none());
    assert!(fixture.cache.lookup(&fixture.key).is_some());
    assert!(fixture.cache.lookup(&third).is_some());
}
