#include "CCurl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

/* The calls that are used, with the types that the library's own header gives them. */
static struct {
    __typeof__(&curl_global_init) global_init;
    __typeof__(&curl_easy_init) init;
    __typeof__(&curl_easy_setopt) setopt;
    __typeof__(&curl_easy_perform) perform;
    __typeof__(&curl_easy_getinfo) getinfo;
    __typeof__(&curl_easy_cleanup) cleanup;
    __typeof__(&curl_easy_strerror) text;
    __typeof__(&curl_slist_append) append;
    __typeof__(&curl_slist_free_all) free_list;
} curl;
static int is_loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
    /* The second one comes with git. */
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    curl.global_init = (__typeof__(&curl_global_init))dlsym(library, "curl_global_init");
    curl.init = (__typeof__(&curl_easy_init))dlsym(library, "curl_easy_init");
    curl.setopt = (__typeof__(&curl_easy_setopt))dlsym(library, "curl_easy_setopt");
    curl.perform = (__typeof__(&curl_easy_perform))dlsym(library, "curl_easy_perform");
    curl.getinfo = (__typeof__(&curl_easy_getinfo))dlsym(library, "curl_easy_getinfo");
    curl.cleanup = (__typeof__(&curl_easy_cleanup))dlsym(library, "curl_easy_cleanup");
    curl.text = (__typeof__(&curl_easy_strerror))dlsym(library, "curl_easy_strerror");
    curl.append = (__typeof__(&curl_slist_append))dlsym(library, "curl_slist_append");
    curl.free_list = (__typeof__(&curl_slist_free_all))dlsym(library, "curl_slist_free_all");
    is_loaded = curl.global_init != NULL && curl.init != NULL && curl.setopt != NULL && curl.perform != NULL &&
                curl.getinfo != NULL && curl.cleanup != NULL && curl.text != NULL && curl.append != NULL &&
                curl.free_list != NULL && curl.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

struct cancellation {
    int (*is_cancelled)(const void *context);
    const void *context;
};

static int progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    const struct cancellation *cancellation = context;
    return cancellation->is_cancelled(cancellation->context);
}

static size_t discard(char *bytes, size_t size, size_t count, void *context) {
    (void)bytes, (void)context;
    return size * count;
}

int agent_http_post(const char *url, const char *const headers[], const void *body, size_t length,
                    const char *authorities, long timeout_ms, int (*is_cancelled)(const void *context),
                    const void *context, long *status, char error[AGENT_HTTP_ERROR_SIZE]) {
    pthread_once(&once, load);
    CURL *easy = is_loaded ? curl.init() : NULL;
    if (easy == NULL) {
        snprintf(error, AGENT_HTTP_ERROR_SIZE, "libcurl cannot be loaded (Debian: apt-get install libcurl4)");
        return -1;
    }
    struct curl_slist *list = NULL;
    for (; *headers != NULL; headers++) list = curl.append(list, *headers);
    struct cancellation cancellation = {is_cancelled, context};
    error[0] = '\0';
    curl.setopt(easy, CURLOPT_URL, url);
    curl.setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl.setopt(easy, CURLOPT_HTTPHEADER, list);
    curl.setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    curl.setopt(easy, CURLOPT_POSTFIELDS, body);
    if (authorities != NULL) curl.setopt(easy, CURLOPT_CAINFO, authorities);
    curl.setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl.setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A name server that does not answer is not waited for; the library's thread is left to it. */
    curl.setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    curl.setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl.setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    curl.setopt(easy, CURLOPT_XFERINFOFUNCTION, progress);
    curl.setopt(easy, CURLOPT_XFERINFODATA, &cancellation);
    curl.setopt(easy, CURLOPT_NOPROGRESS, 0L);
    CURLcode code = curl.perform(easy);
    if (code == CURLE_OK) {
        curl.getinfo(easy, CURLINFO_RESPONSE_CODE, status);
    } else if (error[0] == '\0') {
        snprintf(error, AGENT_HTTP_ERROR_SIZE, "%s", curl.text(code));
    }
    curl.cleanup(easy);
    curl.free_list(list);
    return code == CURLE_OK ? 0 : -1;
}
