//! Keys and first lines, without files of a run.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use super::index::Index;
use super::keys::{Keyed, Sensitive};
use crate::outcome::ItemKey;
use crate::pool::item::{Body, Item};
use crate::wire::message::ItemForm;

fn item(index: u64, text: &'static str, form: ItemForm, path: Option<&str>) -> Item {
    let body =
        Body { bytes: Bytes::from_static(text.as_bytes()), form, path: path.map(str::to_owned), connection: None };
    Item { index, body: Ok(body), tag: None }
}

fn keys(items: Vec<Item>, to_index: bool) -> Vec<ItemKey> {
    let keyed = Keyed::new(items.into_iter(), Arc::new(Index::default()), [7; 32], Sensitive { to_index });
    keyed.map(|item| item.tag.unwrap().key.unwrap()).collect()
}

#[test]
fn what_a_task_sees_tells_items_apart() {
    let json = |index| item(index, "1", ItemForm::Json, None);
    let same = keys(vec![json(0), json(1)], false);
    assert_eq!((same[0].hash, same[0].nth, same[1].nth), (same[1].hash, 0, 1));
    let by_index = keys(vec![json(0), json(1)], true);
    assert_ne!(by_index[0].hash, by_index[1].hash);
    let others = vec![
        json(0),
        item(0, "1", ItemForm::Raw, None),
        item(0, "2", ItemForm::Json, None),
        item(0, "1", ItemForm::Json, Some("a")),
        item(0, "", ItemForm::Json, Some("a1")),
    ];
    let hashes: std::collections::BTreeSet<u64> = keys(others, false).iter().map(|key| key.hash).collect();
    assert_eq!(hashes.len(), 5);
}

#[test]
fn keys_are_written_and_read() {
    for key in [ItemKey { hash: 0, nth: 0 }, ItemKey { hash: u64::MAX, nth: u32::MAX }] {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    for text in ["", "-", "1", "x-1", "1-x", "11111111111111111-0"] {
        assert!(text.parse::<ItemKey>().is_err(), "{text:?}");
    }
}

#[test]
fn only_whole_ok_lines_are_found() {
    let mut file = tempfile::tempfile().unwrap();
    let text = "first\n{\"kind\":\"ok\",\"key\":\"0a-1\"}\n{\"kind\":\"trap\",\"key\":\"0b-0\"}\n{\"kind\":\"ok\"";
    file.write_all(text.as_bytes()).unwrap();
    let (index, end) = Index::read(&file, 6, "j").unwrap();
    assert_eq!((index.len(), index.get(ItemKey { hash: 10, nth: 1 })), (1, Some(6)));
    assert_eq!(end as usize, text.rfind('\n').unwrap() + 1);
    assert_eq!(super::index::line_at(&file, 6).unwrap(), b"{\"kind\":\"ok\",\"key\":\"0a-1\"}");
    assert!(super::index::line_at(&file, end).is_err(), "it has no end");
}
