#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>

/* One HTTP request by libcurl, which is loaded when it is first needed: whoever sends nothing pays nothing for it. */

#define AGENT_HTTP_ERROR_SIZE 256

/* POSTs `body` to a URL (http or https, redirections not followed) and throws the answer's body away.

   headers: "Name: value" each, ends with NULL. `authorities`: a file of certificates to trust, NULL for the system's.
   `is_cancelled` is asked about once a second. 0 and `status`; else -1 and `error` says why. Blocks. */
int agent_http_post(const char *url, const char *const headers[], const void *body, size_t length,
                    const char *authorities, long timeout_ms, int (*is_cancelled)(const void *context),
                    const void *context, long *status, char error[AGENT_HTTP_ERROR_SIZE]);

#endif
