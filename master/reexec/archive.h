#pragma once

// Values to bytes and back, by one list of fields for both ways: numbers in the machine's own order, texts
// and lists behind their length. Pure; master only. A reader of too few or false bytes turns bad and yields
// zeroes.

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace tcpd::master {

template <typename T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;

class ArchiveWriter {
public:
    template <typename... T>
    void operator()(T&... values) {
        (put(values), ...);
    }
    const std::string& bytes() const { return bytes_; }

private:
    template <Plain T>
    void put(T& value) {
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void put(std::string& text) {
        put_size(text.size());
        bytes_ += text;
    }
    template <typename T>
    void put(std::vector<T>& list) {
        put_size(list.size());
        for (T& item : list) put(item);
    }
    template <typename T, size_t Size>
    void put(std::array<T, Size>& list) {
        put_size(Size);
        for (T& item : list) put(item);
    }
    template <typename T>
    requires requires(T& value, ArchiveWriter& writer) { fields(writer, value); }
    void put(T& value) { fields(*this, value); }
    void put_size(size_t size) {
        auto narrow = static_cast<uint32_t>(size);
        put(narrow);
    }
    std::string bytes_;
};

class ArchiveReader {
public:
    explicit ArchiveReader(std::string_view bytes) : bytes_(bytes) {}
    template <typename... T>
    void operator()(T&... values) {
        (get(values), ...);
    }
    bool is_whole() const { return good_ && bytes_.empty(); }
    bool is_good() const { return good_; }

private:
    template <Plain T>
    void get(T& value) {
        value = T{};
        const std::string_view taken = take(sizeof value);
        if (taken.size() == sizeof value) std::memcpy(&value, taken.data(), sizeof value);
    }
    void get(bool& value) {
        uint8_t byte = 0;
        get(byte);
        if (byte > 1) good_ = false;
        value = byte == 1;
    }
    void get(std::string& text) { text = take(get_size()); }
    template <typename T>
    void get(std::vector<T>& list) {
        list.clear();
        for (uint32_t left = get_size(); left > 0 && good_; --left) get(list.emplace_back());
    }
    template <typename T, size_t Size>
    void get(std::array<T, Size>& list) {
        if (get_size() != Size) good_ = false;
        for (T& item : list) get(item);
    }
    template <typename T>
    requires requires(T& value, ArchiveReader& reader) { fields(reader, value); }
    void get(T& value) { fields(*this, value); }
    uint32_t get_size() {
        uint32_t size = 0;
        get(size);
        return size;
    }
    std::string_view take(size_t length) {
        if (length > bytes_.size()) good_ = false;
        if (!good_) return {};
        const std::string_view taken = bytes_.substr(0, length);
        bytes_.remove_prefix(length);
        return taken;
    }
    std::string_view bytes_;
    bool good_ = true;
};

}  // namespace tcpd::master
