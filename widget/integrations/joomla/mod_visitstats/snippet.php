<?php
/**
 * The snippet of visitstats. License: MIT.
 */

defined('_JEXEC') or die;

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
