#pragma once

// Log lines on their way out, kept in slot memory: one write takes many, and those not yet written outlive
// the process. Worker only; writes to the image's log descriptor. Borrows ring and descriptor.

#include "daemon/base/log.h"
#include "daemon/slot/layout.h"

namespace tcpd::worker {

class LogRing : public log::LineBuffer {
public:
    explicit LogRing(slot::LogRing& ring) : ring_(ring) {}
    char* reserve(size_t bytes) override;
    void commit(size_t bytes) override;
    void flush() override;

private:
    slot::LogRing& ring_;
};

}  // namespace tcpd::worker
