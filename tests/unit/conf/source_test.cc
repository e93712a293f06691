#include "conf/source.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>

#include "conf/load.h"
#include "tests/unit/folder.h"

using namespace tcpd;
using namespace tcpd::conf;
using tcpd::test::Folder;

namespace {

const Snapshot kSnapshot{
    .main_path = "/a/b.yaml",
    .files = {{"/a/b.yaml", "workers: 1\n"}, {"/a/c", std::string("\0\n\xff", 3)}, {"/e", ""}},
    .patterns = {{"/a/*", {"/a/b.yaml", "/a/c"}}, {"/none/*", {}}}};

bool operator==(const Snapshot& a, const Snapshot& b) {
    return a.main_path == b.main_path && a.files == b.files && a.patterns == b.patterns;
}

std::string bytes_of(int fd) {
    std::string bytes(static_cast<size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    BOOST_REQUIRE(::pread(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    return bytes;
}

Result<Snapshot> read_back(const std::string& bytes) {
    const UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
    BOOST_REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    return read_bundle(fd.get());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conf_source)

BOOST_AUTO_TEST_CASE(a_file_is_read_once_and_remembered) {
    const Folder folder;
    folder.write("main.yaml", "one");
    FileSource source;
    BOOST_TEST(*source.read(folder / "main.yaml") == "one");
    folder.write("main.yaml", "two");
    folder.write("other.yaml", "three");
    BOOST_TEST(*source.read(folder / "main.yaml") == "one");
    BOOST_TEST(*source.read(folder / "other.yaml") == "three");
    BOOST_TEST(source.snapshot().main_path == folder / "main.yaml");
    BOOST_TEST(source.snapshot().files.size() == 2U);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_read) {
    const Folder folder;
    FileSource source;
    const Result<std::string> none = source.read(folder / "none");
    BOOST_REQUIRE(!none);
    BOOST_TEST(none.error().sys_errno == ENOENT);
    BOOST_TEST(source.read(folder.path()).error().reason == "it is not a regular file");
    BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
    BOOST_TEST(source.read(folder / "fifo").error().reason == "it is not a regular file");
    folder.write("large", std::string(16 * 1024 * 1024 + 1, 'x'));
    BOOST_TEST(source.read(folder / "large").error().reason == "it is larger than 16MiB");
    folder.write("fits", std::string(16 * 1024 * 1024, 'x'));
    BOOST_TEST(source.read(folder / "fits")->size() == 16U * 1024 * 1024);
}

BOOST_AUTO_TEST_CASE(patterns_match_in_order) {
    const Folder folder;
    for (const char* name : {"b.yaml", "a.yaml", "B.yaml", "c.txt", ".d.yaml"}) folder.write(name, "");
    FileSource source;
    const std::vector<std::string> expected{folder / "B.yaml", folder / "a.yaml", folder / "b.yaml"};
    BOOST_TEST(*source.match(folder / "*.yaml") == expected);
    BOOST_TEST(source.match(folder / "none/*.yaml")->empty());
    BOOST_TEST(source.match(folder / "c.txt/*.yaml")->empty());
    BOOST_TEST(source.snapshot().patterns.size() == 3U);
    BOOST_TEST(source.snapshot().patterns.at(folder / "*.yaml") == expected);
}

BOOST_AUTO_TEST_CASE(a_snapshot_answers_from_what_it_holds) {
    SnapshotSource source(kSnapshot);
    BOOST_TEST(*source.read("/a/b.yaml") == "workers: 1\n");
    BOOST_TEST(source.match("/a/*")->size() == 2U);
    BOOST_TEST(source.match("/none/*")->empty());
    BOOST_TEST((source.read("/etc/passwd").error().code == ErrorCode::not_found));
    BOOST_TEST((source.match("/etc/*").error().code == ErrorCode::not_found));
    BOOST_TEST(!source.is_live());
}

BOOST_AUTO_TEST_CASE(a_bundle_holds_what_was_read) {
    const Result<UniqueFd> fd = make_bundle(kSnapshot);
    BOOST_REQUIRE(bool(fd));
    for (int time = 0; time < 2; ++time) {  // the second reader finds the offset where the first left it
        const Result<Snapshot> read = read_bundle(fd->get());
        BOOST_REQUIRE(bool(read));
        BOOST_TEST((*read == kSnapshot));
    }
    BOOST_TEST((*read_bundle(make_bundle({})->get()) == Snapshot{}));
}

BOOST_AUTO_TEST_CASE(a_bundle_is_sealed) {
    const Result<UniqueFd> fd = make_bundle(kSnapshot);
    BOOST_TEST(::pwrite(fd->get(), "x", 1, 0) == -1);
    BOOST_TEST(::ftruncate(fd->get(), 0) == -1);
    BOOST_TEST(::ftruncate(fd->get(), 1 << 20) == -1);
    BOOST_TEST(::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_WRITE) == -1);
    BOOST_TEST((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
}

BOOST_AUTO_TEST_CASE(a_damaged_bundle_is_refused_and_never_followed) {
    const std::string whole = bytes_of(make_bundle(kSnapshot)->get());
    for (size_t length = 0; length < whole.size(); ++length) {
        const Result<Snapshot> cut = read_back(whole.substr(0, length));
        BOOST_REQUIRE_MESSAGE(!cut, length);
        BOOST_TEST((cut.error().code == ErrorCode::bad_format));
    }
    BOOST_TEST(read_back(whole + "x").error().reason == "a length in it is wrong");
    for (size_t at = 0; at < whole.size(); ++at)
        for (const int flip : {0x01, 0x80, 0xff}) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ flip);
            static_cast<void>(read_back(damaged));
        }
    std::string other_version = whole;
    other_version[8] = 9;
    BOOST_TEST(read_back(other_version).error().reason == "its format is 9, known is 1");
    BOOST_TEST(read_back("something else").error().reason == "it does not begin like one");
}

BOOST_AUTO_TEST_CASE(a_slot_loads_from_the_bundle_what_the_master_loaded_from_files) {
    const Folder folder;
    folder.write("main.yaml", "include: '*.inc'\nlisteners: {a: {listen: unix:s, handler: {proxy: u}}}\n");
    folder.write("u.inc", "upstreams: {u: {servers: 10.0.0.1:1}}\n");
    FileSource files;
    const Loaded from_files = load(files, folder / "main.yaml");
    BOOST_REQUIRE(from_files.problems.empty());
    const Result<UniqueFd> bundle = make_bundle(files.snapshot());
    std::filesystem::remove_all(folder.path());  // sockets' folder and all: a slot asks for none of it
    const Loaded from_bundle = *load_bundle(bundle->get());
    BOOST_TEST(from_bundle.problems.empty());
    BOOST_TEST((from_bundle.config == from_files.config));
}

BOOST_AUTO_TEST_SUITE_END()
