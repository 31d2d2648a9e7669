//! The resource of the service: the attributes that all its spans and metrics share.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

use crate::Config;

/// Built from an empty resource, as the SDK's own detectors read the environment.
pub(crate) fn resource(config: &Config) -> Resource {
    let fields = config.fields.iter().flat_map(|(name, value)| {
        let names = [Some(name.as_str()), pyproc_fields::attribute_name(name)];
        let names = names.into_iter().flatten();
        names.map(|name| KeyValue::new(name.to_owned(), value.clone()))
    });
    let given = config.resource_attributes.iter();
    Resource::builder_empty()
        .with_attributes(fields)
        .with_attributes(given.map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
        .with_attributes([
            KeyValue::new("service.name", config.service_name.clone()),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("telemetry.distro.name", "pyproc-telemetry"),
            KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}
