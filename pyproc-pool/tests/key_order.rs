//! The order of an object's keys, in both directions, with each loop, version and codec.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::json;
use support::{cores, ours};

/// Names of features as a model was trained with them.
const TRAINED: [&str; 4] = ["weight", "age", "zone", "height"];

#[derive(Serialize)]
struct Features {
    weight: f64,
    age: u32,
    zone: &'static str,
    height: f64,
}

const FEATURES: Features = Features {
    weight: 70.5,
    age: 40,
    zone: "north",
    height: 1.8,
};

/// An object whose keys keep their order, as in a `serde_json::Map` with `preserve_order`.
struct Ordered(Vec<(String, u32)>);

impl Ordered {
    fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|&key| (key.to_owned(), 1)).collect())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(key, _)| key.as_str()).collect()
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Ordered;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Calls with each loop and version, in JSON and, where it can be, in MessagePack; what came, by which way.
async fn by_each_way<In, Out>(method: &str, input: &In) -> Vec<(String, Out)>
where
    In: Serialize,
    Out: DeserializeOwned,
{
    let mut results = Vec::new();
    for core in cores() {
        for version in [1, 2] {
            let builder = ours("cores.py", &core).max_protocol_version(version);
            let pool = builder.start().await.unwrap();
            let result = pool.request(method, input).call().await.unwrap();
            results.push((format!("{core}, version {version}"), result));
            #[cfg(feature = "msgpack")]
            if version == 2 {
                let request = pool.request(method, input).msgpack();
                results.push((
                    format!("{core}, MessagePack"),
                    request.call().await.unwrap(),
                ));
            }
        }
    }
    results
}

#[tokio::test]
async fn the_keys_of_a_struct_reach_python_in_the_order_of_its_fields() {
    for (way, keys) in by_each_way::<_, Vec<String>>("keys", &FEATURES).await {
        assert_eq!(keys, TRAINED, "{way}");
    }
}

#[tokio::test]
async fn the_keys_of_a_map_reach_python_in_its_order() {
    for (way, keys) in by_each_way::<_, Vec<String>>("keys", &Ordered::of(&TRAINED)).await {
        assert_eq!(keys, TRAINED, "{way}");
    }
}

#[tokio::test]
async fn the_keys_of_a_dict_arrive_in_its_order() {
    for (way, result) in by_each_way::<_, Ordered>("with_keys", &TRAINED).await {
        assert_eq!(result.keys(), TRAINED, "{way}");
    }
}

/// As the README says of a `serde_json` without `preserve_order`, which is what this workspace builds.
#[tokio::test]
async fn a_plain_value_sorts_its_keys_before_they_are_sent() {
    let value = json!({"weight": 1, "age": 1, "zone": 1, "height": 1});
    let mut sorted = TRAINED;
    sorted.sort_unstable();
    for (way, keys) in by_each_way::<_, Vec<String>>("keys", &value).await {
        assert_eq!(keys, sorted, "{way}");
    }
}
