#include "conf/grammar.h"

#include <boost/test/unit_test.hpp>

#include <set>

using namespace tcpd;
using namespace tcpd::conf;

BOOST_AUTO_TEST_SUITE(conf_grammar)

BOOST_AUTO_TEST_CASE(every_row_is_whole_and_below_one_that_stands_before_it) {
    std::set<std::string_view> before{""};
    for (const Row& row : grammar()) {
        BOOST_TEST(before.contains(row.parent()), row.path);
        BOOST_TEST(before.insert(row.path).second, row.path);
        BOOST_TEST(!row.about.empty(), row.path);
        BOOST_TEST((find_key(row.parent(), row.key()) == &row), row.path);
    }
}

BOOST_AUTO_TEST_CASE(words_are_those_of_the_enumerations) {
    const auto words = [](std::string_view parent, std::string_view key) {
        return std::get<Choice>(find_key(parent, key)->kind).words;
    };
    const auto levels = words("log", "level");
    BOOST_REQUIRE(levels.size() == static_cast<size_t>(log::Level::off) + 1);
    for (size_t at = 0; at < levels.size(); ++at)
        BOOST_TEST(levels[at] == log::name_of(static_cast<log::Level>(at)));
    const auto formats = words("log", "format");
    BOOST_REQUIRE(formats.size() == 2);
    for (size_t at = 0; at < formats.size(); ++at)
        BOOST_TEST(formats[at] == log::name_of(static_cast<log::Format>(at)));
}

const Row* find_row(std::string_view path) {
    for (const Row& row : grammar())
        if (row.path == path) return &row;
    return nullptr;
}

// A default that the grammar itself would refuse could not be dumped and read back.
BOOST_AUTO_TEST_CASE(defaults_are_within_their_limits) {
    Config config;
    Listener listener;
    Upstream upstream;
    Framing framing;
    Route route;
    const Target target{&config, &listener, &upstream, &framing, &route};
    const auto is_left_out = [&](const Row& row) {
        const Row* above = find_row(row.parent());
        const Section* section = above != nullptr ? std::get_if<Section>(&above->kind) : nullptr;
        return section != nullptr && section->is_there != nullptr && !section->is_there(target);
    };
    for (const Row& row : grammar()) {
        if (is_left_out(row)) continue;
        if (const Time* time = std::get_if<Time>(&row.kind)) {
            const Duration value = *time->at(target);
            BOOST_TEST(
                ((time->takes_zero && value.count() == 0) || (value >= time->least && value <= time->most)),
                row.path);
        }
        if (const Size* size = std::get_if<Size>(&row.kind))
            BOOST_TEST(((size->takes_zero && *size->at(target) == 0) ||
                        (*size->at(target) >= size->least && *size->at(target) <= size->most)),
                       row.path);
        if (const Count* count = std::get_if<Count>(&row.kind))
            BOOST_TEST((*count->at(target) >= count->least && *count->at(target) <= count->most), row.path);
    }
}

BOOST_AUTO_TEST_CASE(rows_below_a_path) {
    std::string keys;
    for (const Row* row : rows_below("listeners.NAME.limits")) keys += std::string(row->key()) + " ";
    BOOST_TEST(keys == "connections connections_per_ip accept_rate message_rate output_high output_low ");
    BOOST_TEST(find_key("listeners.NAME", "nothing") == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
