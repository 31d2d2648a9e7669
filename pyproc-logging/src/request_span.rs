/// A span that gives each line inside of it the id of a request, and whatever else should be on
/// all of them.
///
/// It is `tracing::info_span!` with the name `request` and the id first, shown with `Display`. Fields follow in
/// `tracing`'s own notation. One that is not known yet is declared as `tracing::field::Empty`, and set later by
/// `span.record`.
///
/// In async code use `.instrument(span)`; in other code `span.in_scope(..)` or `span.enter()`.
///
/// ```
/// use pyproc_logging::request_span;
/// use tracing::{field::Empty, info};
///
/// # let tenant = "acme";
/// let span = request_span!("r-17", tenant, user_id = Empty);
/// span.in_scope(|| {
///     info!("has request_id and tenant");
///     span.record("user_id", 42);
///     info!("has user_id too");
/// });
/// ```
#[macro_export]
macro_rules! request_span {
    ($id:expr $(,)?) => {
        $crate::__tracing::info_span!("request", request_id = %$id)
    };
    ($id:expr, $($fields:tt)+) => {
        $crate::__tracing::info_span!("request", request_id = %$id, $($fields)+)
    };
}
