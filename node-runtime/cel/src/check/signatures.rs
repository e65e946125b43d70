//! What functions there are: the standard ones and those of the Kubernetes libraries.
//!
//! One line each: the name of the overload, the function, its arguments, its result. A function that
//! begins with a dot is a method, its first argument what it is called on. `A` and `B` are any type.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::types::{Opaque, Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    /// The first argument is what the method is called on.
    pub(crate) method: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    /// How many types it leaves open.
    pub(crate) params: u32,
}

/// The ways to call a function; empty if there is no such function.
pub(crate) fn overloads(function: &str) -> &'static [Overload] {
    FUNCTIONS.get(function).map_or(&[], Vec::as_slice)
}

/// All functions by name.
pub(crate) static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    let tables = [STANDARD, TEXTS, COLLECTIONS, KUBERNETES, AUTHORIZER];
    let lines = tables.iter().flat_map(|table| table.lines()).map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, overload) = read(line).unwrap_or_else(|| unreachable!("signature: {line}"));
        functions.entry(name).or_default().push(overload);
    }
    functions
});

fn read(line: &'static str) -> Option<(&'static str, Overload)> {
    let (id, rest) = line.split_once(' ')?;
    let (call, result) = rest.split_once(" -> ")?;
    let open = call.find('(')?;
    let (name, args) = (call[..open].trim(), call[open + 1..].strip_suffix(')')?);
    let mut params = 0;
    let args: Option<Vec<Type>> =
        split(args).into_iter().map(|arg| read_type(arg, &mut params)).collect();
    let result = read_type(result, &mut params)?;
    let method = name.starts_with('.');
    let name = name.strip_prefix('.').unwrap_or(name);
    Some((name, Overload { id, method, args: args?, result, params }))
}

fn read_type(text: &str, params: &mut u32) -> Option<Type> {
    let text = text.trim();
    if let Some((outer, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let parts = split(inner);
        let mut part = |at: usize| Some(Arc::new(read_type(parts.get(at).copied()?, params)?));
        return Some(match outer {
            "list" => Type::List(part(0)?),
            "map" => Type::Map(part(0)?, part(1)?),
            "optional" => Type::Optional(part(0)?),
            "type" => Type::Type(part(0)?),
            _ => return None,
        });
    }
    Some(match text {
        "A" | "B" => {
            let number = u32::from(text == "B");
            *params = (*params).max(number + 1);
            Type::Param(number)
        }
        "dyn" => Type::Dyn,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "bool" | "int" | "uint" | "double" | "string" | "bytes" => Type::named(text)?,
        _ => Type::Opaque(Opaque::of_signature(text)?),
    })
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

const STANDARD: &str = "
    logical_not !_(bool) -> bool
    equals _==_(A, A) -> bool
    not_equals _!=_(A, A) -> bool
    negate_int64 -_(int) -> int
    negate_double -_(double) -> double
    add_int64 _+_(int, int) -> int
    add_uint64 _+_(uint, uint) -> uint
    add_double _+_(double, double) -> double
    add_string _+_(string, string) -> string
    add_bytes _+_(bytes, bytes) -> bytes
    add_list _+_(list(A), list(A)) -> list(A)
    add_duration_duration _+_(duration, duration) -> duration
    add_duration_timestamp _+_(duration, timestamp) -> timestamp
    add_timestamp_duration _+_(timestamp, duration) -> timestamp
    subtract_int64 _-_(int, int) -> int
    subtract_uint64 _-_(uint, uint) -> uint
    subtract_double _-_(double, double) -> double
    subtract_duration_duration _-_(duration, duration) -> duration
    subtract_timestamp_duration _-_(timestamp, duration) -> timestamp
    subtract_timestamp_timestamp _-_(timestamp, timestamp) -> duration
    multiply_int64 _*_(int, int) -> int
    multiply_uint64 _*_(uint, uint) -> uint
    multiply_double _*_(double, double) -> double
    divide_int64 _/_(int, int) -> int
    divide_uint64 _/_(uint, uint) -> uint
    divide_double _/_(double, double) -> double
    modulo_int64 _%_(int, int) -> int
    modulo_uint64 _%_(uint, uint) -> uint
    index_list _[_](list(A), int) -> A
    index_map _[_](map(A, B), A) -> B
    optional_list_index_int _[_](optional(list(A)), int) -> optional(A)
    optional_map_index_value _[_](optional(map(A, B)), A) -> optional(B)
    list_optindex_optional_int _[?_](list(A), int) -> optional(A)
    map_optindex_optional_value _[?_](map(A, B), A) -> optional(B)
    optional_list_optindex_optional_int _[?_](optional(list(A)), int) -> optional(A)
    optional_map_optindex_optional_value _[?_](optional(map(A, B)), A) -> optional(B)
    in_list @in(A, list(A)) -> bool
    in_map @in(A, map(A, B)) -> bool
    size_string size(string) -> int
    string_size .size(string) -> int
    size_bytes size(bytes) -> int
    bytes_size .size(bytes) -> int
    size_list size(list(A)) -> int
    list_size .size(list(A)) -> int
    size_map size(map(A, B)) -> int
    map_size .size(map(A, B)) -> int
    to_dyn dyn(A) -> dyn
    type type(A) -> type(A)
    bool_to_bool bool(bool) -> bool
    string_to_bool bool(string) -> bool
    bytes_to_bytes bytes(bytes) -> bytes
    string_to_bytes bytes(string) -> bytes
    double_to_double double(double) -> double
    int64_to_double double(int) -> double
    string_to_double double(string) -> double
    uint64_to_double double(uint) -> double
    duration_to_duration duration(duration) -> duration
    string_to_duration duration(string) -> duration
    int64_to_int64 int(int) -> int
    double_to_int64 int(double) -> int
    string_to_int64 int(string) -> int
    timestamp_to_int64 int(timestamp) -> int
    duration_to_int64 int(duration) -> int
    uint64_to_int64 int(uint) -> int
    uint64_to_uint64 uint(uint) -> uint
    double_to_uint64 uint(double) -> uint
    int64_to_uint64 uint(int) -> uint
    string_to_uint64 uint(string) -> uint
    string_to_string string(string) -> string
    bool_to_string string(bool) -> string
    bytes_to_string string(bytes) -> string
    double_to_string string(double) -> string
    duration_to_string string(duration) -> string
    int64_to_string string(int) -> string
    timestamp_to_string string(timestamp) -> string
    uint64_to_string string(uint) -> string
    timestamp_to_timestamp timestamp(timestamp) -> timestamp
    int64_to_timestamp timestamp(int) -> timestamp
    string_to_timestamp timestamp(string) -> timestamp
    timestamp_to_year .getFullYear(timestamp) -> int
    timestamp_to_year_with_tz .getFullYear(timestamp, string) -> int
    timestamp_to_month .getMonth(timestamp) -> int
    timestamp_to_month_with_tz .getMonth(timestamp, string) -> int
    timestamp_to_day_of_year .getDayOfYear(timestamp) -> int
    timestamp_to_day_of_year_with_tz .getDayOfYear(timestamp, string) -> int
    timestamp_to_day_of_month .getDayOfMonth(timestamp) -> int
    timestamp_to_day_of_month_with_tz .getDayOfMonth(timestamp, string) -> int
    timestamp_to_day_of_month_1_based .getDate(timestamp) -> int
    timestamp_to_day_of_month_1_based_with_tz .getDate(timestamp, string) -> int
    timestamp_to_day_of_week .getDayOfWeek(timestamp) -> int
    timestamp_to_day_of_week_with_tz .getDayOfWeek(timestamp, string) -> int
    timestamp_to_hours .getHours(timestamp) -> int
    timestamp_to_hours_with_tz .getHours(timestamp, string) -> int
    duration_to_hours .getHours(duration) -> int
    timestamp_to_minutes .getMinutes(timestamp) -> int
    timestamp_to_minutes_with_tz .getMinutes(timestamp, string) -> int
    duration_to_minutes .getMinutes(duration) -> int
    timestamp_to_seconds .getSeconds(timestamp) -> int
    timestamp_to_seconds_with_tz .getSeconds(timestamp, string) -> int
    duration_to_seconds .getSeconds(duration) -> int
    timestamp_to_milliseconds .getMilliseconds(timestamp) -> int
    timestamp_to_milliseconds_with_tz .getMilliseconds(timestamp, string) -> int
    duration_to_milliseconds .getMilliseconds(duration) -> int
    optional_of optional.of(A) -> optional(A)
    optional_ofNonZeroValue optional.ofNonZeroValue(A) -> optional(A)
    optional_none optional.none() -> optional(A)
    optional_value .value(optional(A)) -> A
    optional_hasValue .hasValue(optional(A)) -> bool
    optional_or_optional .or(optional(A), optional(A)) -> optional(A)
    optional_orValue_value .orValue(optional(A), A) -> A
    list_first .first(list(A)) -> optional(A)
    list_last .last(list(A)) -> optional(A)
    optional_unwrap optional.unwrap(list(optional(A))) -> list(A)
    optional_unwrapOpt .unwrapOpt(list(optional(A))) -> list(A)
    less_bool _<_(bool, bool) -> bool
    less_int64 _<_(int, int) -> bool
    less_int64_double _<_(int, double) -> bool
    less_int64_uint64 _<_(int, uint) -> bool
    less_uint64 _<_(uint, uint) -> bool
    less_uint64_double _<_(uint, double) -> bool
    less_uint64_int64 _<_(uint, int) -> bool
    less_double _<_(double, double) -> bool
    less_double_int64 _<_(double, int) -> bool
    less_double_uint64 _<_(double, uint) -> bool
    less_string _<_(string, string) -> bool
    less_bytes _<_(bytes, bytes) -> bool
    less_timestamp _<_(timestamp, timestamp) -> bool
    less_duration _<_(duration, duration) -> bool
    less_equals_bool _<=_(bool, bool) -> bool
    less_equals_int64 _<=_(int, int) -> bool
    less_equals_int64_double _<=_(int, double) -> bool
    less_equals_int64_uint64 _<=_(int, uint) -> bool
    less_equals_uint64 _<=_(uint, uint) -> bool
    less_equals_uint64_double _<=_(uint, double) -> bool
    less_equals_uint64_int64 _<=_(uint, int) -> bool
    less_equals_double _<=_(double, double) -> bool
    less_equals_double_int64 _<=_(double, int) -> bool
    less_equals_double_uint64 _<=_(double, uint) -> bool
    less_equals_string _<=_(string, string) -> bool
    less_equals_bytes _<=_(bytes, bytes) -> bool
    less_equals_timestamp _<=_(timestamp, timestamp) -> bool
    less_equals_duration _<=_(duration, duration) -> bool
    greater_bool _>_(bool, bool) -> bool
    greater_int64 _>_(int, int) -> bool
    greater_int64_double _>_(int, double) -> bool
    greater_int64_uint64 _>_(int, uint) -> bool
    greater_uint64 _>_(uint, uint) -> bool
    greater_uint64_double _>_(uint, double) -> bool
    greater_uint64_int64 _>_(uint, int) -> bool
    greater_double _>_(double, double) -> bool
    greater_double_int64 _>_(double, int) -> bool
    greater_double_uint64 _>_(double, uint) -> bool
    greater_string _>_(string, string) -> bool
    greater_bytes _>_(bytes, bytes) -> bool
    greater_timestamp _>_(timestamp, timestamp) -> bool
    greater_duration _>_(duration, duration) -> bool
    greater_equals_bool _>=_(bool, bool) -> bool
    greater_equals_int64 _>=_(int, int) -> bool
    greater_equals_int64_double _>=_(int, double) -> bool
    greater_equals_int64_uint64 _>=_(int, uint) -> bool
    greater_equals_uint64 _>=_(uint, uint) -> bool
    greater_equals_uint64_double _>=_(uint, double) -> bool
    greater_equals_uint64_int64 _>=_(uint, int) -> bool
    greater_equals_double _>=_(double, double) -> bool
    greater_equals_double_int64 _>=_(double, int) -> bool
    greater_equals_double_uint64 _>=_(double, uint) -> bool
    greater_equals_string _>=_(string, string) -> bool
    greater_equals_bytes _>=_(bytes, bytes) -> bool
    greater_equals_timestamp _>=_(timestamp, timestamp) -> bool
    greater_equals_duration _>=_(duration, duration) -> bool
";

const TEXTS: &str = "
    contains_string .contains(string, string) -> bool
    ends_with_string .endsWith(string, string) -> bool
    starts_with_string .startsWith(string, string) -> bool
    matches matches(string, string) -> bool
    matches_string .matches(string, string) -> bool
    string_char_at_int .charAt(string, int) -> string
    string_index_of_string .indexOf(string, string) -> int
    string_index_of_string_int .indexOf(string, string, int) -> int
    string_last_index_of_string .lastIndexOf(string, string) -> int
    string_last_index_of_string_int .lastIndexOf(string, string, int) -> int
    string_lower_ascii .lowerAscii(string) -> string
    string_upper_ascii .upperAscii(string) -> string
    string_replace_string_string .replace(string, string, string) -> string
    string_replace_string_string_int .replace(string, string, string, int) -> string
    string_split_string .split(string, string) -> list(string)
    string_split_string_int .split(string, string, int) -> list(string)
    string_substring_int .substring(string, int) -> string
    string_substring_int_int .substring(string, int, int) -> string
    string_trim .trim(string) -> string
    string_format .format(string, list(dyn)) -> string
    strings_quote strings.quote(string) -> string
    list_join .join(list(string)) -> string
    list_join_string .join(list(string), string) -> string
    string_reverse .reverse(string) -> string
    string_find_string .find(string, string) -> string
    string_find_all_string .findAll(string, string) -> list(string)
    string_find_all_string_int .findAll(string, string, int) -> list(string)
";

const COLLECTIONS: &str = "
    list_is_sorted_bool .isSorted(list(bool)) -> bool
    list_is_sorted_int .isSorted(list(int)) -> bool
    list_is_sorted_uint .isSorted(list(uint)) -> bool
    list_is_sorted_double .isSorted(list(double)) -> bool
    list_is_sorted_string .isSorted(list(string)) -> bool
    list_is_sorted_bytes .isSorted(list(bytes)) -> bool
    list_is_sorted_timestamp .isSorted(list(timestamp)) -> bool
    list_is_sorted_duration .isSorted(list(duration)) -> bool
    list_sum_int .sum(list(int)) -> int
    list_sum_uint .sum(list(uint)) -> uint
    list_sum_double .sum(list(double)) -> double
    list_sum_duration .sum(list(duration)) -> duration
    list_max_bool .max(list(bool)) -> bool
    list_max_int .max(list(int)) -> int
    list_max_uint .max(list(uint)) -> uint
    list_max_double .max(list(double)) -> double
    list_max_string .max(list(string)) -> string
    list_max_bytes .max(list(bytes)) -> bytes
    list_max_timestamp .max(list(timestamp)) -> timestamp
    list_max_duration .max(list(duration)) -> duration
    list_min_bool .min(list(bool)) -> bool
    list_min_int .min(list(int)) -> int
    list_min_uint .min(list(uint)) -> uint
    list_min_double .min(list(double)) -> double
    list_min_string .min(list(string)) -> string
    list_min_bytes .min(list(bytes)) -> bytes
    list_min_timestamp .min(list(timestamp)) -> timestamp
    list_min_duration .min(list(duration)) -> duration
    list_a_index_of_int .indexOf(list(A), A) -> int
    list_a_last_index_of_int .lastIndexOf(list(A), A) -> int
    list_slice .slice(list(A), int, int) -> list(A)
    list_flatten .flatten(list(list(A))) -> list(A)
    list_flatten_int .flatten(list(dyn), int) -> list(dyn)
    list_sort .sort(list(A)) -> list(A)
    lists_range lists.range(int) -> list(int)
    list_distinct .distinct(list(A)) -> list(A)
    list_reverse .reverse(list(A)) -> list(A)
    list_sets_contains_list sets.contains(list(A), list(A)) -> bool
    list_sets_equivalent_list sets.equivalent(list(A), list(A)) -> bool
    list_sets_intersects_list sets.intersects(list(A), list(A)) -> bool
";

const KUBERNETES: &str = "
    string_to_url url(string) -> Url
    is_url_string isURL(string) -> bool
    url_get_scheme .getScheme(Url) -> string
    url_get_host .getHost(Url) -> string
    url_get_hostname .getHostname(Url) -> string
    url_get_port .getPort(Url) -> string
    url_get_escaped_path .getEscapedPath(Url) -> string
    url_get_query .getQuery(Url) -> map(string, list(string))
    string_to_ip ip(string) -> Ip
    is_ip isIP(string) -> bool
    ip_is_canonical ip.isCanonical(string) -> bool
    ip_to_string string(Ip) -> string
    ip_family .family(Ip) -> int
    ip_is_unspecified .isUnspecified(Ip) -> bool
    ip_is_loopback .isLoopback(Ip) -> bool
    ip_is_link_local_multicast .isLinkLocalMulticast(Ip) -> bool
    ip_is_link_local_unicast .isLinkLocalUnicast(Ip) -> bool
    ip_is_global_unicast .isGlobalUnicast(Ip) -> bool
    string_to_cidr cidr(string) -> Cidr
    is_cidr isCIDR(string) -> bool
    cidr_to_string string(Cidr) -> string
    cidr_contains_ip_string .containsIP(Cidr, string) -> bool
    cidr_contains_ip_ip .containsIP(Cidr, Ip) -> bool
    cidr_contains_cidr_string .containsCIDR(Cidr, string) -> bool
    cidr_contains_cidr .containsCIDR(Cidr, Cidr) -> bool
    cidr_ip .ip(Cidr) -> Ip
    cidr_masked .masked(Cidr) -> Cidr
    cidr_prefix_length .prefixLength(Cidr) -> int
    string_to_quantity quantity(string) -> Quantity
    is_quantity_string isQuantity(string) -> bool
    quantity_sign .sign(Quantity) -> int
    quantity_is_greater_than .isGreaterThan(Quantity, Quantity) -> bool
    quantity_is_less_than .isLessThan(Quantity, Quantity) -> bool
    quantity_compare_to .compareTo(Quantity, Quantity) -> int
    quantity_get_float .asApproximateFloat(Quantity) -> double
    quantity_get_int .asInteger(Quantity) -> int
    quantity_is_integer .isInteger(Quantity) -> bool
    quantity_add .add(Quantity, Quantity) -> Quantity
    quantity_add_int .add(Quantity, int) -> Quantity
    quantity_sub .sub(Quantity, Quantity) -> Quantity
    quantity_sub_int .sub(Quantity, int) -> Quantity
    string_to_semver semver(string) -> Semver
    string_bool_to_semver semver(string, bool) -> Semver
    is_semver_string isSemver(string) -> bool
    is_semver_string_bool isSemver(string, bool) -> bool
    semver_is_greater_than .isGreaterThan(Semver, Semver) -> bool
    semver_is_less_than .isLessThan(Semver, Semver) -> bool
    semver_compare_to .compareTo(Semver, Semver) -> int
    semver_major .major(Semver) -> int
    semver_minor .minor(Semver) -> int
    semver_patch .patch(Semver) -> int
    format_named format.named(string) -> optional(Format)
    format_validate .validate(Format, string) -> optional(list(string))
    format_dns1123Label format.dns1123Label() -> Format
    format_dns1123Subdomain format.dns1123Subdomain() -> Format
    format_dns1035Label format.dns1035Label() -> Format
    format_qualifiedName format.qualifiedName() -> Format
    format_dns1123LabelPrefix format.dns1123LabelPrefix() -> Format
    format_dns1123SubdomainPrefix format.dns1123SubdomainPrefix() -> Format
    format_dns1035LabelPrefix format.dns1035LabelPrefix() -> Format
    format_labelValue format.labelValue() -> Format
    format_uri format.uri() -> Format
    format_uuid format.uuid() -> Format
    format_byte format.byte() -> Format
    format_date format.date() -> Format
    format_datetime format.datetime() -> Format
    jsonpatch_escape_key jsonpatch.escapeKey(string) -> string
";

const AUTHORIZER: &str = "
    authorizer_path .path(Authorizer, string) -> PathCheck
    authorizer_group .group(Authorizer, string) -> GroupCheck
    authorizer_serviceaccount .serviceAccount(Authorizer, string, string) -> Authorizer
    groupcheck_resource .resource(GroupCheck, string) -> ResourceCheck
    resourcecheck_subresource .subresource(ResourceCheck, string) -> ResourceCheck
    resourcecheck_namespace .namespace(ResourceCheck, string) -> ResourceCheck
    resourcecheck_name .name(ResourceCheck, string) -> ResourceCheck
    authorizer_fieldselector .fieldSelector(ResourceCheck, string) -> ResourceCheck
    authorizer_labelselector .labelSelector(ResourceCheck, string) -> ResourceCheck
    pathcheck_check .check(PathCheck, string) -> Decision
    resourcecheck_check .check(ResourceCheck, string) -> Decision
    decision_errored .errored(Decision) -> bool
    decision_error .error(Decision) -> string
    decision_allowed .allowed(Decision) -> bool
    decision_reason .reason(Decision) -> string
";
