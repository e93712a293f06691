#include "daemon/program_path.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

using namespace tcpd;
namespace fs = std::filesystem;

namespace {

// A folder with a program `tool`, a link to it, and a `tool` that can't be executed in a folder of its own.
struct Folder {
    Folder() {
        char name[] = "/tmp/program_path_XXXXXX";
        path = mkdtemp(name);
        fs::create_directories(path / "bin");
        fs::create_directories(path / "plain");
        std::ofstream(path / "bin/tool") << "#!/bin/sh\n";
        std::ofstream(path / "plain/tool") << "text\n";
        fs::permissions(path / "bin/tool", fs::perms::owner_all);
        fs::create_symlink("tool", path / "bin/link");
    }
    ~Folder() { fs::remove_all(path); }
    std::string find(std::string_view argv0, std::string_view search = "") const {
        return program_path(argv0, path, search);
    }
    fs::path path;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(program_path_, Folder)

BOOST_AUTO_TEST_CASE(a_path_is_taken_as_typed_links_kept) {
    BOOST_TEST(find("bin/link") == path / "bin/link");
    BOOST_TEST(find("./bin/tool") == path / "bin/tool");
    BOOST_TEST(find((path / "bin/link").string()) == path / "bin/link");
}

BOOST_AUTO_TEST_CASE(a_bare_name_is_looked_up) {
    std::string bin = path / "bin";
    std::string plain = path / "plain";
    BOOST_TEST(find("tool", "/nowhere:" + bin) == path / "bin/tool");
    BOOST_TEST(find("tool", plain + ":" + bin) == path / "bin/tool");
    BOOST_TEST(find("tool", "/nowhere:bin") == path / "bin/tool");
    BOOST_TEST(program_path("tool", bin, "/nowhere:") == path / "bin/tool");
}

BOOST_AUTO_TEST_CASE(what_is_not_there_or_no_program_is_not_found) {
    BOOST_TEST(find("tool", "/nowhere") == "");
    BOOST_TEST(find("plain/tool") == "");
    BOOST_TEST(find("bin") == "");
    BOOST_TEST(find("./bin") == "");
    BOOST_TEST(find("") == "");
}

BOOST_AUTO_TEST_SUITE_END()
