<?php
/**
 * Plugin Name: Visitstats
 * Description: Counts visits with visitstats: the box, the views of articles (lượt xem), and a column of them in the list of posts.
 * Version: 1.0.0
 * Requires at least: 4.9
 * Requires PHP: 5.6
 * License: MIT
 */

if (!defined('ABSPATH')) {
    exit;
}

// ---- The snippet: the same in every integration in PHP (tests/integrations compares them) ----------------------------

if (!class_exists('VisitstatsSnippet', false)) {
    /** The snippet of one site, as `visitstats site embed` prints it. */
    final class VisitstatsSnippet
    {
        // Starts the download of the widget without holding up the page's load event.
        const LOADER = "!function(w,d,u){function e(n){return d.createElement(n)}"
            . "function g(){var a=u,s=e('script');u=0;if(a)try{s.async=1;s.src=a;h.appendChild(s)}catch(x){}}"
            . "var h=d.documentElement,l=e('link');l.rel='preload';l.as='script';l.href=u;l.onload=g;h.appendChild(l);"
            . "d.readyState=='complete'?g():w.addEventListener('load',g)}(window,document,'%s/widget.js')";

        private $api;
        private $site;
        private $options;

        private function __construct($api, $site, array $options)
        {
            $this->api = $api;
            $this->site = $site;
            $this->options = $options;
        }

        /**
         * Reads what `visitstats site embed` printed, or its data-… attributes alone. Null when these name no service and
         * no site. Nothing but the attributes is taken from the text.
         */
        public static function read($text)
        {
            $text = ' ' . $text;
            if (preg_match('~<script\b((?:[^>"\']|"[^"]*"|\'[^\']*\')*)>~i', $text, $tag)) {
                $text = ' ' . $tag[1];
            }
            $options = array();
            preg_match_all('~\sdata-([a-z][a-z0-9-]*)=(?:"([^"]*)"|\'([^\']*)\')~', $text, $found, PREG_SET_ORDER);
            foreach ($found as $one) {
                $options[$one[1]] = html_entity_decode(end($one), ENT_QUOTES, 'UTF-8');
            }
            if (!isset($options['api']) && preg_match('~\ssrc="([^"?]*)/widget\.js~', $text, $source)) {
                $options['api'] = $source[1];
            }
            $api = isset($options['api']) ? rtrim($options['api'], '/') : '';
            $site = isset($options['site']) ? $options['site'] : '';
            if (!preg_match('~^(https?:/)?/[\w./:\[\]-]+$~D', $api) || !preg_match('~^[a-z0-9-]{1,63}$~D', $site)) {
                return null;
            }
            unset($options['api'], $options['site'], $options['key']); // the key is that of each page
            return new self($api, $site, $options);
        }

        /** The whole snippet: style sheet, script, and a frame for readers without JavaScript. */
        public function html()
        {
            $html = '';
            if (!empty($this->options['theme'])) {
                $html .= '<link rel="stylesheet" href="' . self::text($this->api) . "/widget/themes/box.css\">\n";
            }
            $html .= '<script data-visitstats';
            foreach (array('api' => $this->api, 'site' => $this->site) + $this->options as $name => $value) {
                $html .= ' data-' . $name . '="' . self::text($value) . '"';
            }
            return $html . ">\n" . sprintf(self::LOADER, $this->api) . "\n</script>" . $this->frame();
        }

        /** The address of a route of this site, as `views`. */
        public function address($route)
        {
            return $this->api . '/v1/sites/' . $this->site . '/' . $route;
        }

        /** The same text, for storing. */
        public function __toString()
        {
            return $this->html();
        }

        /** What the head says of an article: key, author, category, published. Empty ones are left out. */
        public static function metas(array $article)
        {
            $html = '';
            foreach (self::metaNames() as $name => $attribute) {
                if (isset($article[$name]) && trim($article[$name]) !== '') {
                    $html .= '<meta ' . $attribute . ' content="' . self::text($article[$name]) . "\">\n";
                }
            }
            return $html;
        }

        public static function metaNames()
        {
            return array(
                'key' => 'name="visitstats-key"',
                'author' => 'name="author"',
                'category' => 'property="article:section"',
                'published' => 'property="article:published_time"',
            );
        }

        /** A place for the count of another article, by its key or address: the widget asks for all of a page at once. */
        public static function views($key)
        {
            return '<span data-vs-views="' . self::text($key) . '">—</span>';
        }

        /** Text for an attribute. What systems look for in finished pages (variables, shortcodes, positions) is spelled out. */
        public static function text($text)
        {
            $special = array('$' => '&#36;', '\\' => '&#92;', '[' => '&#91;', ']' => '&#93;', '{' => '&#123;', '}' => '&#125;');
            return strtr(htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8'), $special);
        }

        private function frame()
        {
            $lines = isset($this->options['lines']) ? $this->options['lines'] : 'online,today,week,total';
            if ($lines === '') {
                return '';
            }
            $query = array('lines' => $lines, 'theme' => '');
            foreach (array('lang', 'title', 'labels', 'format', 'structure', 'theme') as $name) {
                if (isset($this->options[$name])) {
                    $query[$name] = $this->options[$name];
                }
            }
            $low = preg_match('~\bvs-(inline|badge)\b~', $query['theme']);
            $height = $low ? 48 : 70 + 62 * count(preg_split('~[,|]~', $lines));
            $title = isset($query['title']) ? $query['title'] : '';
            if ($title === '') {
                $title = preg_match('~^(vi|$)~i', isset($query['lang']) ? $query['lang'] : '') ? 'Thống kê truy cập' : 'Visitor statistics';
            }
            return "\n<noscript><iframe src=\"" . self::text($this->address('box') . '?' . http_build_query($query, '', '&'))
                . '" title="' . self::text($title) . '" width="100%" height="' . $height
                . '" frameborder="0" loading="lazy"></iframe></noscript>';
        }
    }
}

// ---- The end of what is the same ---------------------------------------------------------------------------------------

/** The snippet that the settings hold, or null. */
function visitstats_snippet()
{
    return VisitstatsSnippet::read(get_option('visitstats_snippet', ''));
}

// ---- What pages get ----------------------------------------------------------------------------------------------------

/** What the head says of the article that is shown. Its address is its key: then every address of it is the same article. */
function visitstats_head()
{
    if (!is_singular() || is_preview() || !visitstats_snippet()) {
        return;
    }
    $post = get_queried_object();
    $categories = get_the_category($post->ID);
    echo VisitstatsSnippet::metas(array(
        'key' => get_permalink($post),
        'author' => get_the_author_meta('display_name', $post->post_author),
        'category' => $categories ? $categories[0]->name : '',
        'published' => get_post_time('c', false, $post),
    ));
}
add_action('wp_head', 'visitstats_head');

/** The snippet, once, at the end of every page that readers see. */
function visitstats_footer()
{
    $snippet = visitstats_snippet();
    if ($snippet && !is_preview() && !is_customize_preview()) {
        echo $snippet->html(), "\n";
    }
}
add_action('wp_footer', 'visitstats_footer');

/** [visitstats]: the place of the box. Without one it stands at the end of the page. */
function visitstats_box_shortcode()
{
    return '<div data-vs-box></div>';
}
add_shortcode('visitstats', 'visitstats_box_shortcode');

/** [visitstats_views]: the count of the article that is shown; [visitstats_views id="12"]: of another. */
function visitstats_views_shortcode($given)
{
    $given = shortcode_atts(array('id' => 0), $given, 'visitstats_views');
    return (int) $given['id'] ? visitstats_views((int) $given['id']) : '<span data-vs="views">—</span>';
}
add_shortcode('visitstats_views', 'visitstats_views_shortcode');

/** [visitstats_top period="week" limit="5"]: the most read articles (xem nhiều), if the site publishes them. */
function visitstats_top_shortcode($given)
{
    $given = shortcode_atts(array('period' => 'week', 'limit' => 10), $given, 'visitstats_top');
    return '<ol data-vs-top="' . esc_attr($given['period']) . '" data-vs-limit="' . (int) $given['limit'] . '"></ol>';
}
add_shortcode('visitstats_top', 'visitstats_top_shortcode');

/** For lists in themes: <?php echo visitstats_views(get_the_ID()); ?>. All of a page are one request. */
function visitstats_views($post)
{
    return VisitstatsSnippet::views(get_permalink($post));
}

// ---- The column in the lists of posts and pages --------------------------------------------------------------------------

function visitstats_columns($columns)
{
    return visitstats_snippet() ? $columns + array('visitstats' => 'Lượt xem') : $columns;
}
add_filter('manage_posts_columns', 'visitstats_columns');
add_filter('manage_pages_columns', 'visitstats_columns');

function visitstats_column($column, $id)
{
    if ($column !== 'visitstats') {
        return;
    }
    $counts = visitstats_counts();
    echo isset($counts[$id]) ? esc_html(number_format_i18n($counts[$id])) : '—';
}
add_action('manage_posts_custom_column', 'visitstats_column', 10, 2);
add_action('manage_pages_custom_column', 'visitstats_column', 10, 2);

/** Post id => views, of the published posts of the list that is shown: one request for 500 of them. */
function visitstats_counts()
{
    static $counts = null;
    if ($counts !== null) {
        return $counts;
    }
    $counts = array();
    $keys = array();
    foreach ($GLOBALS['wp_query']->posts as $post) {
        $id = is_object($post) ? $post->ID : (int) $post;
        if (get_post_status($id) === 'publish') {
            $keys[$id] = get_permalink($id);
        }
    }
    $address = visitstats_snippet()->address('views');
    if ($address[0] === '/') {
        $address = preg_replace('~^(https?://[^/]+).*$~', '$1', home_url()) . $address;
    }
    foreach (array_chunk($keys, 500, true) as $some) {
        $answer = wp_remote_post($address, array(
            'timeout' => 3,
            'headers' => array('Content-Type' => 'application/json'),
            'body' => wp_json_encode(array('keys' => array_values(array_unique($some)))),
        ));
        if (is_wp_error($answer) || wp_remote_retrieve_response_code($answer) !== 200) {
            break; // whoever waits for an editor's list does not wait twice
        }
        $found = json_decode(wp_remote_retrieve_body($answer), true);
        foreach ($some as $id => $key) {
            if (isset($found['views'][$key]) && is_int($found['views'][$key])) {
                $counts[$id] = $found['views'][$key];
            }
        }
    }
    return $counts;
}

// ---- Settings -------------------------------------------------------------------------------------------------------------

/** Keeps nothing of what was pasted but the snippet's attributes. */
function visitstats_sanitize($text)
{
    $snippet = VisitstatsSnippet::read($text);
    if ($snippet || trim($text) === '') {
        return (string) $snippet;
    }
    add_settings_error(
        'visitstats_snippet',
        'visitstats',
        'Visitstats: paste what "visitstats site embed" prints, with the address of your counter (--api).'
    );
    return get_option('visitstats_snippet', '');
}

function visitstats_admin_init()
{
    register_setting('visitstats', 'visitstats_snippet', array('sanitize_callback' => 'visitstats_sanitize'));
}
add_action('admin_init', 'visitstats_admin_init');

function visitstats_menu()
{
    add_options_page('Visitstats', 'Visitstats', 'manage_options', 'visitstats', 'visitstats_page');
}
add_action('admin_menu', 'visitstats_menu');

function visitstats_page()
{
    echo '<div class="wrap"><h1>Visitstats</h1><form method="post" action="options.php">';
    settings_fields('visitstats');
    echo '<p><label for="visitstats_snippet">Mã nhúng (what <code>visitstats site embed</code> prints)</label></p>',
        '<p><textarea id="visitstats_snippet" name="visitstats_snippet" rows="12" class="large-text code">',
        esc_textarea(get_option('visitstats_snippet', '')), '</textarea></p>';
    submit_button();
    echo '</form></div>';
}
